//! What the client of Nomad is told: the volume's metadata, and its mount as a host volume, in a file of volinit's own
//! in the folder of its config, of which it merges all (`client.meta`, `client.host_volume`).

use anyhow::Result;

use super::files::File;
use super::unit::MARKER;
use super::{News, Published};

/// What reads the files when it starts, and then only.
pub const SERVICES: [&str; 1] = ["nomad.service"];

/// A file for each volume.
pub fn files(news: &News<'_>) -> Result<Vec<File>> {
    news.each(("/etc/nomad.d/volinit-", ".hcl"), text)
}

fn text(published: &Published<'_>) -> Result<Option<String>> {
    let name = &published.volume.name;
    let mut text = format!("{MARKER} for the volume `{name}`.\nclient {{\n  meta {{\n");
    for (key, value) in published.metadata()? {
        text = format!("{text}    {} = {}\n", string(&key), string(&value));
    }
    let at = published.volume.mount.at.to_string();
    Ok(Some(format!("{text}  }}\n  host_volume {} {{\n    path = {}\n  }}\n}}\n", string(name), string(&at))))
}

/// A string of HCL, 1 or 2: neither of them reads `\u0024{` as the beginning of an expression, and the first, which
/// Nomad reads its own config by, knows no `$${`.
fn string(text: &str) -> String {
    let text = text.replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", text.replace("${", r"\u0024{").replace("%{", r"\u0025{"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_hcl_s() {
        assert_eq!(string("/data/postgres"), "\"/data/postgres\"");
        assert_eq!(string(r#"a "b" \n ${x} $${y} %{z} $ {"#), r#""a \"b\" \\n \u0024{x} $\u0024{y} \u0025{z} $ {""#);
    }
}
