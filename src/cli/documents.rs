//! `usher openapi`

use std::path::PathBuf;

use serde_json::json;

use super::{Common, print};
use crate::api::openapi;
use crate::error::{Error, Result};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  usher openapi --out openapi/")]
pub struct Openapi {
    /// Write each document to its file below this directory [default: print all as one JSON object]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Openapi {
    pub fn run(self, common: &Common) -> Result<()> {
        let documents = openapi::documents();
        let Some(directory) = self.out else {
            let all: serde_json::Map<_, _> = documents.into_iter().collect();
            print(&format!("{:#}", serde_json::Value::Object(all)));
            return Ok(());
        };
        let mut written = Vec::new();
        for (name, document) in documents {
            let path = directory.join(name);
            let write = || -> std::io::Result<()> {
                std::fs::create_dir_all(path.parent().unwrap_or(&directory))?;
                std::fs::write(&path, format!("{document:#}\n"))
            };
            write().map_err(|e| Error::operator(format!("{} cannot be written: {e}", path.display())))?;
            written.push(path.display().to_string());
        }
        common.say(&json!(written), &written.join("\n"));
        Ok(())
    }
}
