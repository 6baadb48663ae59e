//! A mail server that takes everything and remembers it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

pub struct Sink {
    pub url: String,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Recipient and `Message-ID`, in the order of arrival.
    mails: Mutex<Vec<(String, String)>>,
    delay: AtomicU64,
}

impl Sink {
    pub fn open() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let desk = Arc::new(Desk::default());
        let counter = Arc::clone(&desk);
        spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let desk = Arc::clone(&counter);
                // Who sends may die in the middle of a word.
                spawn(move || _ = desk.serve(socket));
            }
        });
        Sink { url, desk }
    }

    /// How long it thinks before it says that it has taken a mail.
    pub fn think(&self, delay: Duration) {
        self.desk.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn mails(&self) -> Vec<(String, String)> {
        self.desk.mails.lock().unwrap().clone()
    }
}

impl Desk {
    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let mut lines = BufReader::new(socket.try_clone()?).lines();
        let say = |text: &str| (&socket).write_all(format!("{text}\r\n").as_bytes());
        let mut to = String::new();
        say("220 sink")?;
        while let Some(line) = lines.next().transpose()? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            match verb.as_str() {
                "RCPT" => line.split(['<', '>']).nth(1).unwrap_or_default().clone_into(&mut to),
                "DATA" => {
                    say("354 go on")?;
                    let mut message = Vec::new();
                    loop {
                        match lines.next().transpose()? {
                            Some(line) if line == "." => break,
                            Some(line) => message.push(line),
                            // A mail that was cut off is none.
                            None => return Ok(()),
                        }
                    }
                    let id = message.iter().find_map(|line| line.strip_prefix("Message-ID: "));
                    self.mails.lock().unwrap().push((to.clone(), id.unwrap_or_default().to_owned()));
                    sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
                }
                "QUIT" => return say("221 bye"),
                _ => {}
            }
            say("250 OK")?;
        }
        Ok(())
    }
}
