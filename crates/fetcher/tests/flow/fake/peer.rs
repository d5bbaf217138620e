//! One connection of the server in memory.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Folder, Interference, Mail, State};

pub(super) struct Peer {
    reader: BufReader<TcpStream>,
    out: TcpStream,
    state: Arc<Mutex<State>>,
    selected: Option<String>,
    /// Messages the client knows of.
    told: usize,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self {
            out: stream.try_clone()?,
            reader: BufReader::new(stream),
            state,
            selected: None,
            told: 0,
        })
    }

    pub(super) fn serve(&mut self) -> std::io::Result<()> {
        self.hang("GREETING")?;
        let greeting = format!(
            "* OK [CAPABILITY {}] hello\r\n",
            self.state.lock().unwrap().capabilities
        );
        self.out.write_all(greeting.as_bytes())?;
        loop {
            let Some(line) = self.line()? else {
                return Ok(());
            };
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            let (tag, command) = (tag.to_owned(), command.to_owned());
            self.state.lock().unwrap().log.push(command.clone());
            if let Some(answer) = self.refusal(&command) {
                self.out
                    .write_all(format!("{tag} {answer}\r\n").as_bytes())?;
                continue;
            }
            self.hang(&command)?;
            self.interfere(&command);
            let mut reply = Vec::new();
            let done = self.answer(&command, &mut reply)?;
            reply.extend_from_slice(format!("{tag} {done}\r\n").as_bytes());
            self.out.write_all(&reply)?;
            if command == "LOGOUT" {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        let n = self.reader.read_line(&mut line)?;
        Ok((n > 0).then(|| line.trim_end().to_owned()))
    }

    /// Says nothing more until the client goes, if it is to hang here.
    fn hang(&mut self, at: &str) -> std::io::Result<()> {
        let here = self
            .state
            .lock()
            .unwrap()
            .hang
            .is_some_and(|hang| at.starts_with(hang));
        if here {
            std::io::copy(&mut self.reader, &mut std::io::sink())?;
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn interfere(&self, command: &str) {
        let mut state = self.state.lock().unwrap();
        let due = |(begins, _): &Interference| command.starts_with(begins);
        if let Some(at) = state.before.iter().position(due) {
            let (_, happens) = state.before.remove(at);
            happens(&mut state);
        }
    }

    fn refusal(&self, command: &str) -> Option<&'static str> {
        let mut state = self.state.lock().unwrap();
        let rule = state
            .refuse
            .iter_mut()
            .find(|(begins, _, times)| *times > 0 && command.starts_with(begins))?;
        rule.2 -= 1;
        Some(rule.1)
    }

    fn answer(&mut self, command: &str, reply: &mut Vec<u8>) -> std::io::Result<String> {
        let words: Vec<&str> = command.split(' ').collect();
        let verb = if words[0] == "UID" {
            format!("UID {}", words[1])
        } else {
            words[0].to_owned()
        };
        match verb.as_str() {
            "LOGIN" | "AUTHENTICATE" => {
                let capabilities = self.state.lock().unwrap().capabilities.clone();
                return Ok(format!("OK [CAPABILITY {capabilities}] in"));
            }
            "SELECT" | "EXAMINE" => {
                let command = command.strip_suffix(" (CONDSTORE)").unwrap_or(command);
                return Ok(self.select(&unquote(command.split_once(' ').unwrap().1), reply));
            }
            "LIST" => {
                let name = unquote(command.rsplit_once("\"\" ").unwrap().1);
                let state = self.state.lock().unwrap();
                let all = state.folders.iter();
                for (name, folder) in all.filter(|(n, _)| name == "*" || **n == name) {
                    let special = folder.special;
                    let quoted = quote(name);
                    reply.extend_from_slice(
                        format!("* LIST (\\HasNoChildren {special}) \"/\" {quoted}\r\n").as_bytes(),
                    );
                }
            }
            "STATUS" => {
                let (name, _) = command["STATUS ".len()..].rsplit_once(" (").unwrap();
                let state = self.state.lock().unwrap();
                let Some(folder) = state.folders.get(&unquote(name)) else {
                    return Ok("NO [NONEXISTENT] no such folder".into());
                };
                let (next, validity) = (folder.next, folder.uidvalidity);
                reply.extend_from_slice(
                    format!("* STATUS {name} (UIDNEXT {next} UIDVALIDITY {validity})\r\n")
                        .as_bytes(),
                );
            }
            "ENABLE" => reply.extend_from_slice(b"* ENABLED UTF8=ACCEPT\r\n"),
            "ID" => reply.extend_from_slice(b"* ID (\"name\" \"fake\")\r\n"),
            "CREATE" => {
                let name = unquote(command.split_once(' ').unwrap().1);
                self.state.lock().unwrap().folders.insert(
                    name,
                    Folder {
                        uidvalidity: 7,
                        next: 1,
                        ..Folder::default()
                    },
                );
            }
            "IDLE" => self.idle()?,
            "NOOP" => self.news(reply),
            "LOGOUT" => reply.extend_from_slice(b"* BYE see you\r\n"),
            "UID FETCH" => return self.fetch(words[2], &words[3..].join(" "), reply),
            "UID STORE" | "UID EXPUNGE" | "EXPUNGE" | "UID MOVE" | "UID COPY" => {
                self.change(&verb, &words, reply)
            }
            _ => return Ok("BAD what".into()),
        }
        Ok("OK done".into())
    }

    fn select(&mut self, name: &str, reply: &mut Vec<u8>) -> String {
        let state = self.state.lock().unwrap();
        let Some(folder) = state.folders.get(name) else {
            return "NO [NONEXISTENT] no such folder".into();
        };
        self.told = folder.mails.len();
        self.selected = Some(name.to_owned());
        reply.extend_from_slice(
            format!(
                "* FLAGS (\\Seen \\Deleted)\r\n* {} EXISTS\r\n* OK [UIDVALIDITY {}] v\r\n* OK [UIDNEXT {}] n\r\n",
                folder.mails.len(),
                folder.uidvalidity,
                folder.next
            )
            .as_bytes(),
        );
        if let Some(modseq) = state.modseq {
            reply.extend_from_slice(format!("* OK [HIGHESTMODSEQ {modseq}] m\r\n").as_bytes());
        }
        if folder.read_only {
            "OK [READ-ONLY] selected".into()
        } else {
            "OK [READ-WRITE] selected".into()
        }
    }

    fn news(&mut self, reply: &mut Vec<u8>) {
        let state = self.state.lock().unwrap();
        let Some(folder) = self
            .selected
            .as_ref()
            .and_then(|name| state.folders.get(name))
        else {
            return;
        };
        if folder.mails.len() != self.told {
            self.told = folder.mails.len();
            reply.extend_from_slice(format!("* {} EXISTS\r\n", self.told).as_bytes());
        }
    }

    fn idle(&mut self) -> std::io::Result<()> {
        self.out.write_all(b"+ idling\r\n")?;
        self.out.set_read_timeout(Some(Duration::from_millis(5)))?;
        let mut done = Vec::new();
        while !done.ends_with(b"DONE\r\n") {
            let mut byte = [0];
            match self.reader.read(&mut byte) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => done.push(byte[0]),
                Err(_) => {
                    let mut reply = Vec::new();
                    self.news(&mut reply);
                    self.out.write_all(&reply)?;
                }
            }
        }
        self.out.set_read_timeout(None)
    }

    fn fetch(&mut self, set: &str, items: &str, reply: &mut Vec<u8>) -> std::io::Result<String> {
        let mut done = "OK done";
        let mut state = self.state.lock().unwrap();
        let Some(folder) = self
            .selected
            .as_ref()
            .and_then(|name| state.folders.get_mut(name))
        else {
            return Ok("BAD nothing is selected".into());
        };
        let last = folder.mails.keys().last().copied().unwrap_or(0);
        for (n, (uid, mail)) in folder.mails.iter_mut().enumerate() {
            if !within(set, *uid, last) {
                continue;
            }
            if mail.refused && items.contains("BODY") {
                done = "NO [SERVERBUG] this message is damaged";
                continue;
            }
            reply.extend_from_slice(format!("* {} FETCH (UID {uid}", n + 1).as_bytes());
            if items.contains("RFC822.SIZE") {
                let flags: Vec<&str> = mail.flags.iter().map(String::as_str).collect();
                let size = mail.size.unwrap_or(mail.bytes.len());
                reply.extend_from_slice(
                    format!(" FLAGS ({}) RFC822.SIZE {size}", flags.join(" ")).as_bytes(),
                );
            }
            if items.contains("INTERNALDATE") {
                let date = if mail.date.is_empty() {
                    "NIL".to_owned()
                } else {
                    format!("\"{}\"", mail.date)
                };
                reply.extend_from_slice(format!(" INTERNALDATE {date}").as_bytes());
            }
            if items.contains("X-GM-MSGID") {
                reply.extend_from_slice(format!(" X-GM-MSGID {}", mail.gm).as_bytes());
            }
            if mail.breaks && items.contains("BODY") {
                reply.extend_from_slice(b" BODY[] {1000}\r\nand no more");
                self.out.write_all(reply)?;
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            if let Some(at) = items.find("BODY.PEEK") {
                body(mail, &items[at + "BODY.PEEK".len()..], reply);
            }
            reply.extend_from_slice(b")\r\n");
        }
        Ok(done.into())
    }

    fn change(&mut self, verb: &str, words: &[&str], reply: &mut Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let name = self.selected.clone().unwrap_or_default();
        let last = state.folders[&name]
            .mails
            .keys()
            .last()
            .copied()
            .unwrap_or(0);
        let named = |uid: u32| words.get(2).is_some_and(|set| within(set, uid, last));
        let folder = state.folders.get_mut(&name).unwrap();
        let before = folder.mails.len();
        let mut moved = Vec::new();
        match verb {
            "UID STORE" => {
                let flag = words[4].trim_matches(['(', ')']).to_owned();
                for (_, mail) in folder.mails.iter_mut().filter(|(uid, _)| named(**uid)) {
                    mail.flags.insert(flag.clone());
                }
            }
            "UID EXPUNGE" => folder
                .mails
                .retain(|uid, mail| !(named(*uid) && mail.flags.contains("\\Deleted"))),
            "EXPUNGE" => folder
                .mails
                .retain(|_, mail| !mail.flags.contains("\\Deleted")),
            _ => {
                moved = folder
                    .mails
                    .iter()
                    .filter(|(uid, _)| named(**uid))
                    .map(|(_, mail)| mail.clone())
                    .collect();
                if verb == "UID MOVE" {
                    folder.mails.retain(|uid, _| !named(*uid));
                }
            }
        }
        for _ in folder.mails.len()..before {
            reply.extend_from_slice(b"* 1 EXPUNGE\r\n");
        }
        self.told = self.told.saturating_sub(before - folder.mails.len());
        if !moved.is_empty() {
            let target = state
                .folders
                .get_mut(&unquote(&words[3..].join(" ")))
                .unwrap();
            for mail in moved {
                target.mails.insert(target.next, mail);
                target.next += 1;
            }
        }
    }
}

/// `[]`, `[]<offset.length>` or `[HEADER]<offset.length>` of a message.
fn body(mail: &mut Mail, asked: &str, reply: &mut Vec<u8>) {
    let asked = asked.trim_end_matches(')');
    let (section, part) = asked.split_once('<').unwrap_or((asked, ""));
    let mut bytes = mail.bytes.as_slice();
    if section == "[HEADER]" {
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(bytes.len(), |at| at + 4);
        bytes = &bytes[..end];
    }
    if mail.empty > 0 {
        mail.empty -= 1;
        bytes = b"";
    }
    if let Some((times, at)) = mail.cut.as_mut().filter(|(times, _)| *times > 0) {
        *times -= 1;
        bytes = &bytes[..(*at).min(bytes.len())];
    }
    let mut origin = String::new();
    if let Some((offset, length)) = part.trim_end_matches('>').split_once('.') {
        let (offset, length): (usize, usize) = (offset.parse().unwrap(), length.parse().unwrap());
        bytes = &bytes[offset.min(bytes.len())..];
        bytes = &bytes[..length.min(bytes.len())];
        origin = format!("<{offset}>");
    }
    reply.extend_from_slice(format!(" BODY{section}{origin} {{{}}}\r\n", bytes.len()).as_bytes());
    reply.extend_from_slice(bytes);
}

fn within(set: &str, uid: u32, last: u32) -> bool {
    set.split(',').any(|part| {
        let number = |text: &str| {
            if text == "*" {
                last
            } else {
                text.parse().unwrap()
            }
        };
        let (a, b) = part.split_once(':').unwrap_or((part, part));
        let (a, b) = (number(a), number(b));
        (a.min(b)..=a.max(b)).contains(&uid)
    })
}

fn unquote(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner
        .unwrap_or(text)
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
