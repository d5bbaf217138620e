//! Who is in: sessions counted in total and by address, and messages counted by the minute.
use super::guesser::Guesser;
use super::rules::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses whose failed sign-ins are counted; beyond these, those that are under no pause are forgotten.
const GUESSERS: usize = 1024;
/// The part of an IPv6 address that its user cannot choose (RFC 4291 section 2.5.4).
const NETWORK_BITS: u32 = 64;

/// Everybody in a listener.
pub(super) struct Guests {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
    messages: Allowance,
    /// Of users who have signed in, of whom there are as many as the administrator has made.
    by_user: HashMap<String, Allowance>,
    guessers: HashMap<Option<IpAddr>, Arc<Guesser>>,
}

/// A place in the house, given back when dropped.
pub(super) struct Seat {
    guests: Arc<Guests>,
    network: Option<IpAddr>,
}

/// Why there was no place; the text is the reply.
pub(super) type Full = &'static str;

const HOUSE: Full = "421 4.3.2 Too many connections, try again later";
const ADDRESS: Full = "421 4.7.0 Too many connections from your address, try again later";

impl Guests {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            inner: Mutex::default(),
        })
    }

    /// A place for a client, as long as there is one.
    pub(super) fn enter(self: &Arc<Self>, from: Option<IpAddr>) -> Result<Seat, Full> {
        let network = from.map(network);
        let mut inner = self.lock();
        if inner.total >= self.limits.connections {
            return Err(HOUSE);
        }
        if let Some(network) = network {
            let count = inner.by_network.entry(network).or_default();
            if *count >= self.limits.connections_per_address {
                return Err(ADDRESS);
            }
            *count += 1;
        }
        inner.total += 1;
        drop(inner);
        Ok(Seat {
            guests: Arc::clone(self),
            network,
        })
    }

    /// Whether all clients together may send one more message now.
    pub(super) fn allow(&self, now: Instant) -> bool {
        self.lock().messages.take(self.limits.rate, now)
    }

    /// Whether a user may send one more message now, by all sessions.
    pub(super) fn allow_user(&self, user: &str, now: Instant) -> bool {
        let mut inner = self.lock();
        let messages = inner.by_user.entry(user.to_owned()).or_default();
        messages.take(self.limits.rate_per_user, now)
    }

    /// Who signs in from an address.
    pub(super) fn guesser(&self, from: Option<IpAddr>, now: Instant) -> Arc<Guesser> {
        let mut inner = self.lock();
        if inner.guessers.len() >= GUESSERS {
            let is_needed = |guesser: &mut Arc<Guesser>| {
                Arc::strong_count(guesser) > 1 || !guesser.pause(now).is_zero()
            };
            inner.guessers.retain(|_, guesser| is_needed(guesser));
        }
        Arc::clone(inner.guessers.entry(from.map(network)).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.guests.lock();
        inner.total = inner.total.saturating_sub(1);
        let Some(network) = self.network else { return };
        if let Some(count) = inner.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                inner.by_network.remove(&network);
            }
        }
    }
}

/// Whoever has one IPv6 address has its whole network.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << NETWORK_BITS)).into(),
    }
}

/// Messages a minute: a minute's worth may come at once, and what was taken comes back evenly.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Allowance {
    /// When all of it will have come back.
    full: Option<Instant>,
}

impl Allowance {
    /// Takes one message, if there is one left; None allows all.
    pub(super) fn take(&mut self, per_minute: Option<u32>, now: Instant) -> bool {
        let Some(per_minute) = per_minute.filter(|n| *n > 0) else {
            return true;
        };
        let full = self.full.map_or(now, |full| full.max(now)) + MINUTE / per_minute;
        if full > now + MINUTE {
            return false;
        }
        self.full = Some(full);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize, connections_per_address: usize) -> Limits {
        Limits {
            connections,
            connections_per_address,
            ..Limits::default()
        }
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().expect("an address"))
    }

    #[test]
    fn places_are_counted_in_total_and_by_network_and_come_back() {
        let guests = Guests::new(limits(4, 2));
        let first = guests.enter(from("192.0.2.1")).expect("a place");
        let _second = guests.enter(from("::ffff:192.0.2.1")).expect("a place");
        assert_eq!(guests.enter(from("192.0.2.1")).err(), Some(ADDRESS));
        let _third = guests.enter(from("2001:db8::1")).expect("a place");
        let fourth = guests.enter(from("2001:db8::ffff:1")).expect("a place");
        assert_eq!(guests.enter(from("198.51.100.1")).err(), Some(HOUSE));
        assert_eq!(guests.enter(None).err(), Some(HOUSE));
        drop(fourth);
        let _socket = guests.enter(None).expect("a Unix socket has no address");
        assert_eq!(guests.enter(from("2001:db8::2")).err(), Some(HOUSE));
        drop(first);
        assert_eq!(guests.lock().by_network.len(), 2);
        let _again = guests
            .enter(from("192.0.2.1"))
            .expect("a place was given back");
    }

    #[test]
    fn another_network_is_another_client() {
        let guests = Guests::new(limits(9, 1));
        let _one = guests.enter(from("2001:db8:0:1::1")).expect("a place");
        assert!(guests.enter(from("2001:db8:0:1:ffff::1")).is_err());
        assert!(guests.enter(from("2001:db8:0:2::1")).is_ok());
        assert!(guests.enter(from("192.0.2.2")).is_ok());
    }

    #[test]
    fn a_minutes_worth_comes_at_once_and_then_evenly() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let seconds = |n: u64| start + Duration::from_secs(n);
        assert!((0..30).all(|_| allowance.take(Some(30), start)));
        assert!(!allowance.take(Some(30), start));
        assert!(!allowance.take(Some(30), seconds(1)));
        assert!(allowance.take(Some(30), seconds(2)));
        assert!(!allowance.take(Some(30), seconds(3)));
        // An idle hour earns no more than a minute's worth.
        let taken = (0..100).filter(|_| allowance.take(Some(30), seconds(3600)));
        assert_eq!(taken.count(), 30);
        assert!((0..1000).all(|_| allowance.take(None, start)));
    }
}
