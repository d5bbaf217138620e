//! A seeded corpus of awkward but lawful mail: as a server stores it, and as it must arrive.

use fastrand::Rng;

/// A message as it lies in a Maildir, and the exact bytes a client must be given for it.
pub(crate) struct Sample {
    pub(crate) stored: Vec<u8>,
    pub(crate) served: Vec<u8>,
}

/// `count` messages between 1 KB and 10 MB; the same seed gives the same bytes.
pub(crate) fn corpus(seed: u64, count: usize) -> Vec<Sample> {
    let mut rng = Rng::with_seed(seed);
    let mut message = |n| {
        let size = size(n, count, &mut rng);
        sample(&mut rng, n, size)
    };
    (0..count).map(&mut message).collect()
}

/// One message of about `size` bytes.
pub(crate) fn sample(rng: &mut Rng, n: usize, size: usize) -> Sample {
    let stored = match n % 10 {
        7 => headers_only(n),
        _ => whole(rng, n, size),
    };
    let served = as_served(&stored);
    Sample { stored, served }
}

/// Mostly small, some of a few megabytes, and five of ten.
fn size(n: usize, count: usize, rng: &mut Rng) -> usize {
    if n * 5 % count < 5 && count >= 100 {
        10_000_000
    } else if n.is_multiple_of(25) {
        rng.usize(300_000..2_000_000)
    } else {
        1024 << rng.usize(0..7)
    }
}

fn whole(rng: &mut Rng, n: usize, size: usize) -> Vec<u8> {
    let end: &[u8] = if n.is_multiple_of(3) { b"\r\n" } else { b"\n" };
    let mut out = Vec::with_capacity(size + 1024);
    let mut line = |text: &[u8]| {
        out.extend_from_slice(text);
        out.extend_from_slice(end);
    };
    line(format!("Subject: message {n} of the corpus").as_bytes());
    line(b"From: customer@example.org");
    match n % 10 {
        1 => {}
        2 | 3 => line(b"Message-ID: <the-same-twice@example.org>"),
        _ => line(format!("Message-ID: <{n}@example.org>").as_bytes()),
    }
    line(b"");
    line(b".");
    line(b"..leading dots");
    line("Grüße, 8 bit: \u{20ac} \u{1f4e8}".as_bytes());
    line(b"raw 8 bit: \xe4\xf6\xfc\xff");
    while out.len() < size {
        body_line(rng, &mut out);
        // Both line ends in one message: what a server stored as a bare LF is served as CRLF.
        out.extend_from_slice(if n % 10 == 4 && rng.bool() {
            b"\n"
        } else {
            end
        });
    }
    out
}

fn body_line(rng: &mut Rng, out: &mut Vec<u8>) {
    let length = rng.usize(0..120);
    if rng.u8(..) < 16 {
        out.push(b'.');
    }
    out.extend((0..length).map(|_| rng.u8(32..127)));
}

fn headers_only(n: usize) -> Vec<u8> {
    format!("Subject: nothing after the headers of {n}\nFrom: customer@example.org\nMessage-ID: <{n}@example.org>\n\n").into_bytes()
}

/// Each LF without a CR before it becomes CRLF (RFC 9051 allows no bare LF in a body that is served).
fn as_served(stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.len() + stored.len() / 40);
    let mut before = 0;
    for &byte in stored {
        if byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        before = byte;
    }
    out
}
