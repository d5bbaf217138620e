//! Where replies come in: users of other machines under TLS, and sockets that outlive the daemon.

use crate::harness::eventually;
use crate::harness::free_port;
use crate::harness::postern::{BINARY, Daemon, Setup};
use crate::harness::rig::Rig;
use crate::harness::submit::{Sent, Submitter};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const USER: &str = "desk@sandbox.test";
const CUSTOMER: &str = "customer@sandbox.test";
/// As /proc shows it, on x86 and Arm.
const O_CLOEXEC: u32 = 0o2_000_000;
const WITHIN: Duration = Duration::from_secs(20);

/// One relay to the pretend provider.
fn relay(rig: &Rig) -> String {
    rig.provider.set_password(USER, "right");
    format!(
        "relays:\n  - {{name: desk, host: 127.0.0.1, port: {}, tls: none, user: {USER}, auth: {{password: right}}, senders: ['*']}}\n",
        rig.provider.smtp().port()
    )
}

/// A listener on every address of this machine, as a list item.
fn public(rig: &Rig, port: u16, tls: &str) -> String {
    let dir = rig.path().display();
    format!(
        "  - {{listen: '0.0.0.0:{port}', tls: {tls}, auth: required, certificate: {dir}/server.pem, certificate_key: {dir}/server.key}}\n"
    )
}

fn private_key(rig: &Rig, mode: u32) {
    let key = rig.path().join("server.key");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Sends with msmtp; `how` is whether it says STARTTLS, and its mechanism.
fn msmtp(
    rig: &Rig,
    port: u16,
    how: (bool, &str),
    user: &str,
    password: &str,
    from: &str,
) -> Output {
    let (starttls, auth) = how;
    let starttls = if starttls { "on" } else { "off" };
    let mut msmtp = Command::new("msmtp")
        .args([
            "--file=/dev/null",
            "--host=localhost",
            "--tls=on",
            "--timeout=20",
        ])
        .arg(format!("--port={port}"))
        .arg(format!("--tls-starttls={starttls}"))
        .arg(format!("--tls-trust-file={}", rig.ca().display()))
        .arg(format!("--auth={auth}"))
        .arg(format!("--user={user}"))
        .arg(format!("--passwordeval=echo {password}"))
        .arg(format!("--from={from}"))
        .arg(CUSTOMER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = msmtp.stdin.take().unwrap();
    stdin.write_all(b"Subject: hello\n\nhi\n").unwrap();
    drop(stdin);
    msmtp.wait_with_output().unwrap()
}

#[test]
fn a_private_key_that_everybody_can_read_stops_the_start() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = Setup::new(
        &rig,
        &(public(&rig, free_port(), "implicit") + &relay(&rig)),
    );
    private_key(&rig, 0o644);
    let refused = setup.run(&["run"], "");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{words}");
    assert!(
        words.contains("submission[1].certificate_key") && words.contains("chmod 0640"),
        "{words}"
    );
}

#[test]
fn clients_of_other_machines_sign_in_under_tls_and_nobody_else_sends() {
    let rig = Rig::new(Duration::from_secs(3600));
    let (implicit, starttls) = (free_port(), free_port());
    let listeners = public(&rig, implicit, "implicit") + &public(&rig, starttls, "starttls");
    let setup = Setup::new(&rig, &(listeners + &relay(&rig)));
    private_key(&rig, 0o600);

    let add = [
        "submission",
        "user",
        "add",
        "znuny",
        "--from",
        "@sandbox.test",
    ];
    setup.ok(&add, "a good password\n");
    let daemon = setup.start();
    let ways = [(implicit, false), (starttls, true)];
    let mut sent = 0;
    for (port, with_starttls) in ways {
        for mechanism in ["plain", "login"] {
            let how = (with_starttls, mechanism);
            let output = msmtp(&rig, port, how, "znuny", "a good password", USER);
            assert!(output.status.success(), "{how:?}: {output:?}");
            sent += 1;
        }
        let how = (with_starttls, "plain");
        for (password, from, code) in [
            ("a bad password", USER, "535"),
            ("a good password", "boss@elsewhere.test", "553"),
        ] {
            let output = msmtp(&rig, port, how, "znuny", password, from);
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && words.contains(code), "{words}");
        }
    }
    let mut stranger = Submitter::connect(starttls).unwrap();
    let mail = format!("MAIL FROM:<{USER}>");
    assert!(stranger.command(&mail).unwrap().starts_with("530"));
    assert!(
        stranger
            .command("AUTH PLAIN AHUAcA==")
            .unwrap()
            .starts_with("538")
    );

    // A user comes and goes while the daemon runs.
    let made = setup.ok(&["submission", "user", "add", "otrs", "--generate"], "");
    let password = made
        .lines()
        .find_map(|line| line.strip_prefix("password: "))
        .unwrap();
    let how = (false, "plain");
    assert!(
        msmtp(&rig, implicit, how, "otrs", password, USER)
            .status
            .success()
    );
    sent += 1;
    let listed = setup.ok(&["submission", "user", "list"], "");
    assert!(
        listed.contains("znuny  @sandbox.test") && listed.contains("otrs   every sender"),
        "{listed}"
    );
    setup.ok(&["submission", "user", "delete", "otrs"], "");
    assert!(
        !msmtp(&rig, implicit, how, "otrs", password, USER)
            .status
            .success()
    );
    let nobody = setup.run(&["submission", "user", "delete", "otrs"], "");
    assert_eq!(nobody.status.code(), Some(65));

    eventually("all of it leaves", WITHIN, || {
        rig.provider.submitted().len() == sent
    });
    assert!(daemon.stop().success());
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    assert!(
        !log.contains("good password") && !log.contains(password),
        "{log}"
    );
}

/// Starts the daemon with sockets that this test keeps: as descriptors 3 and 4, as systemd does it.
fn start_with(setup: &Setup, tcp: &TcpListener, unix: &UnixListener) -> Daemon {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=tcp:unix exec \"$@\"";
    command
        .args(["-c", script, "sh", BINARY])
        .stdin(OwnedFd::from(tcp.try_clone().unwrap()))
        .stdout(OwnedFd::from(unix.try_clone().unwrap()));
    setup.start_by(command)
}

/// Says a whole session at once and hears its end.
fn whole_session(mut stream: impl Write + std::io::Read, subject: &str) -> String {
    write!(
        stream,
        "EHLO x\r\nMAIL FROM:<{USER}>\r\nRCPT TO:<{CUSTOMER}>\r\nDATA\r\n"
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut said = String::new();
    let mut until = |reader: &mut BufReader<_>, code: &str| {
        loop {
            let mut line = String::new();
            assert_ne!(
                reader.read_line(&mut line).unwrap(),
                0,
                "{code} was not said: {said}"
            );
            said.push_str(&line);
            if line.starts_with(code) {
                return said.clone();
            }
        }
    };
    until(&mut reader, "354 ");
    write!(
        reader.get_mut(),
        "Subject: {subject}\r\n\r\nhi\r\n.\r\nQUIT\r\n"
    )
    .unwrap();
    until(&mut reader, "221 ")
}

#[test]
fn a_reply_that_comes_while_the_daemon_restarts_waits_and_is_taken() {
    let rig = Rig::new(Duration::from_secs(3600));
    let path = rig.path().join("smtp.sock");
    let socket = format!("  - {{listen: {}}}\n", path.display());
    let setup = Setup::new(&rig, &(socket + &relay(&rig)));
    let tcp = TcpListener::bind(("127.0.0.1", setup.submission)).unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let mut daemon = start_with(&setup, &tcp, &unix);
    for fd in [3, 4] {
        let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", daemon.pid())).unwrap();
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & O_CLOEXEC, 0, "a ticket command would inherit {fd}");
    }
    let mut sent = 0;
    for end in [Signal::TERM, Signal::KILL] {
        let mut before = Submitter::connect(setup.submission).unwrap();
        assert_eq!(
            before.send(USER, &[CUSTOMER], b"Subject: before\r\n\r\nhi\r\n"),
            Sent::Accepted
        );
        match end {
            Signal::TERM => assert!(daemon.stop().success()),
            _ => daemon.kill9(),
        }
        // Nobody runs now, and nobody is refused.
        let over_tcp = TcpStream::connect(("127.0.0.1", setup.submission)).unwrap();
        let over_unix = UnixStream::connect(&path).unwrap();
        let clients = [
            std::thread::spawn(move || whole_session(over_tcp, "by TCP")),
            std::thread::spawn(move || whole_session(over_unix, "by a Unix socket")),
        ];
        daemon = start_with(&setup, &tcp, &unix);
        for client in clients {
            let said = client.join().unwrap();
            assert!(said.contains("250 2.0.0 Ok: accepted as"), "{said}");
        }
        sent += 3;
    }
    eventually("all of it leaves", WITHIN, || {
        rig.provider.submitted().len() == sent
    });
    assert!(daemon.stop().success());
    assert!(path.exists(), "the socket is not the daemon's to remove");
}

/// systemd's own tool, which becomes the daemon at the first connection.
fn activated(setup: &Setup, addresses: &[String]) -> Command {
    let mut command = Command::new("systemd-socket-activate");
    for address in addresses {
        command.arg("--listen").arg(address);
    }
    let names = vec!["smtp"; addresses.len()].join(":");
    command
        .arg(format!("--fdname={names}"))
        .args(["--setenv=NOTIFY_SOCKET", BINARY])
        .current_dir(&setup.dir);
    command
}

/// Connects as soon as somebody listens.
fn knock(port: u16) -> TcpStream {
    let mut stream = None;
    eventually("the socket is open", WITHIN, || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    stream.unwrap()
}

#[test]
fn systemds_own_tool_starts_the_daemon_at_the_first_reply() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = Setup::new(&rig, &relay(&rig));
    let port = setup.submission;
    let client = std::thread::spawn(move || whole_session(knock(port), "the first"));
    let daemon = setup.start_by(activated(&setup, &[format!("127.0.0.1:{port}")]));
    let said = client.join().unwrap();
    assert!(said.contains("250 2.0.0 Ok: accepted as"), "{said}");
    eventually("it leaves", WITHIN, || rig.provider.submitted().len() == 1);
    assert!(daemon.stop().success());
    let log = std::fs::read_to_string(rig.path().join("postern.log")).unwrap();
    assert!(
        log.contains("is the socket smtp of the service manager"),
        "{log}"
    );
}

#[test]
fn a_socket_that_no_listener_names_stops_the_start_and_is_named() {
    let rig = Rig::new(Duration::from_secs(3600));
    let setup = Setup::new(&rig, &relay(&rig));
    let other = free_port();
    let addresses = [
        format!("127.0.0.1:{}", setup.submission),
        format!("127.0.0.1:{other}"),
    ];
    let client = std::thread::spawn(move || drop(knock(other)));
    let output = activated(&setup, &addresses)
        .args(["run", "--config"])
        .arg(&setup.config)
        .output()
        .unwrap();
    client.join().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{words}");
    assert!(
        words.contains(&format!("hands over 127.0.0.1:{other} (smtp)")),
        "{words}"
    );
}

#[test]
fn the_socket_unit_names_listeners_of_the_documented_configuration() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unit = std::fs::read_to_string(top.join("systemd/postern.socket")).unwrap();
    let config = std::fs::read_to_string(top.join("config/postern.yaml")).unwrap();
    let mut found = 0;
    for line in unit.lines() {
        if let Some(address) = line.trim_start_matches('#').strip_prefix("ListenStream=") {
            assert!(
                config.contains(&format!("- listen: {address}\n")),
                "{address}"
            );
            found += 1;
        }
    }
    assert_eq!(found, 2);
}
