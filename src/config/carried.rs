//! Which metadata each target can carry: one table of what it takes for a key and for a value. Pure; the config is held
//! against it, and the values once more when their words stand for something.

use crate::config::problem::tick;
use crate::config::schema::Target;

/// What a target takes, by its own documents or source.
struct Rule {
    /// What a key may have in it besides ASCII letters and digits.
    key: &'static str,
    /// Whether a text of these characters is a key, and how to make it one.
    key_is: (fn(&str) -> bool, &'static str),
    /// Whether a value may have the character in it.
    value: fn(char) -> bool,
    /// Whether a text of these characters is a value, and how to make it one.
    value_is: (fn(&str) -> bool, &'static str),
}

/// Nothing but the characters matters.
const ANY: (fn(&str) -> bool, &str) = (|_| true, "");

/// `None` where any text is carried.
fn rule(target: &Target) -> Option<Rule> {
    Some(match target {
        // api-v1.md: keys match `[A-Za-z0-9_.-]+`. fleet splits its metadata at every `,` and `=`, and the value goes
        // through a quoted line of a unit file.
        Target::Fleet => Rule {
            key: "_.-",
            key_is: ANY,
            value: |c| !(c.is_whitespace() || c.is_control() || "=,#;\"'\\".contains(c)),
            value_is: ANY,
        },
        // swarmkit's manager/constraint/constraint.go; the reserved ones are in moby's daemon/config/config.go.
        Target::Swarm => Rule {
            key: "_.-",
            key_is: (
                |key| {
                    let reserved = ["com.docker.", "io.docker.", "org.dockerproject."];
                    !key.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_')
                        && key.len() > 1
                        && !reserved.iter().any(|prefix| key.starts_with(prefix))
                },
                "begin it with a letter or `_`, write two characters at least, and leave Docker's own prefixes to it",
            ),
            value: |c| c.is_ascii_alphanumeric() || " :-_.*()?+[]\\^$|/".contains(c),
            value_is: ANY,
        },
        // docs/attributes-resources.md; a key is a file's name for Mesosphere's packages. What reads as a number is one
        // to Mesos, all else a text (src/common/values.cpp).
        Target::Mesos => Rule {
            key: "_.-",
            key_is: (|key| !key.starts_with(['.', '-']), "begin it with a letter, a digit or `_`"),
            value: |c| c.is_ascii_alphanumeric() || "_/.-".contains(c),
            value_is: ANY,
        },
        // A key is what follows `meta.` in ${meta.KEY}.
        Target::Nomad => Rule {
            key: "_.-",
            key_is: (
                |key| !key.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_'),
                "begin it with a letter or `_`",
            ),
            value: |c| !c.is_control(),
            value_is: ANY,
        },
        // `node_meta` in Consul's documents: 64 pairs, keys of 128 characters, values of 512.
        Target::Consul => Rule {
            key: "_-",
            key_is: (
                |key| key.len() <= 128 && !key.starts_with("consul-"),
                "write 128 characters at most, and leave `consul-` to Consul",
            ),
            value: |c| !c.is_control(),
            value_is: (|text| text.len() <= 512, "write 512 bytes at most"),
        },
        // API_Attribute.html of ECS; no `\` and no blanks, since the agent's file is read as an environment, too.
        Target::Ecs => Rule {
            key: "_.-/",
            key_is: (|key| key.len() <= 128, "write 128 characters at most"),
            value: |c| c.is_ascii_alphanumeric() || "-_.@/:".contains(c),
            value_is: (|text| text.len() <= 128, "write 128 characters at most"),
        },
        // Labels and Selectors, "Syntax and character set"; the kubelet ends where a label of its own is not one of
        // those that it knows (kubelet_node_status.go).
        Target::Kubernetes => Rule {
            key: "_.-/",
            key_is: (
                |key| {
                    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
                    let within = |domain: &&str| {
                        prefix.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    };
                    let reserved = ["kubernetes.io", "k8s.io"].iter().any(within);
                    let subdomain = |part: &str| {
                        ends_plainly(part, 63) && !part.contains(|c: char| c == '_' || c.is_ascii_uppercase())
                    };
                    ends_plainly(name, 63) && prefix.len() <= 253 && prefix.split('.').all(subdomain) && !reserved
                },
                "write NAME or DOMAIN/NAME, the name at most 63 characters with a letter or digit at both ends, the \
                 domain yours, and not within kubernetes.io or k8s.io",
            ),
            value: |c| c.is_ascii_alphanumeric() || "_.-".contains(c),
            value_is: (
                |text| ends_plainly(text, 63),
                "write 63 characters at most, with a letter or digit at both ends",
            ),
        },
        // JSON carries any text; the environment has none of them.
        Target::Env | Target::Script(_) => return None,
    })
}

fn ends_plainly(text: &str, limit: usize) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= limit && text.starts_with(plain) && text.ends_with(plain) && !text.contains('/')
}

/// # Errors
/// Why the target cannot carry the key, and what to do.
pub fn key(target: &Target, key: &str) -> Result<(), String> {
    let Some(rule) = rule(target) else { return Ok(()) };
    let name = target.name();
    if !key.chars().all(|c| c.is_ascii_alphanumeric() || rule.key.contains(c)) {
        let others: Vec<String> = rule.key.chars().map(|c| tick(&c.to_string())).collect();
        let (last, rest) = others.split_last().expect("each takes more than letters and digits");
        let use_these = format!("use letters, digits, {} and {last}", rest.join(", "));
        return Err(format!("{name} cannot carry the key {}: {use_these}", tick(key)));
    }
    let (is, way_out) = rule.key_is;
    if is(key) { Ok(()) } else { Err(format!("{name} cannot carry the key {}: {way_out}", tick(key))) }
}

/// # Errors
/// Why the target cannot carry the value, and what to do.
pub fn value(target: &Target, text: &str) -> Result<(), String> {
    let Some(rule) = rule(target) else { return Ok(()) };
    let name = target.name();
    if let Some(wrong) = text.chars().find(|c| !(rule.value)(*c)) {
        return Err(format!("{name} cannot carry {} in a value: leave it out", tick(&wrong.to_string())));
    }
    let (is, way_out) = rule.value_is;
    if is(text) { Ok(()) } else { Err(format!("{name} cannot carry the value {}: {way_out}", tick(text))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_its_own_keys() {
        for (target, good, bad) in [
            (Target::Fleet, &["pg", ".", "-1"][..], &["a b", "a/b", "ä"][..]),
            (Target::Swarm, &["pg", "_a", "my.pg-1"], &["p", "1a", "-a", "a/b", "com.docker.x", "io.docker.x"]),
            (Target::Mesos, &["pg", "1", "_.-"], &[".a", "-a", "a:b", "a;b", "a/b"]),
            (Target::Nomad, &["pg", "a.b", "_1"], &["1", "-a", "a b", "a/b"]),
            (Target::Consul, &["pg", "a_b-c"], &["a.b", "consul-x", &"a".repeat(129)]),
            (Target::Ecs, &["pg", "a/b.c", &"a".repeat(128)], &["a:b", "a b", &"a".repeat(129)]),
            (
                Target::Kubernetes,
                &["pg", "example.com/pg", "A_b.c-1", "notkubernetes.io/pg"],
                &[
                    "-a",
                    "a/",
                    "/a",
                    "a/b/c",
                    "A.com/b",
                    "a..b/c",
                    "kubernetes.io/a",
                    "x.k8s.io/a",
                    "node.kubernetes.io/a",
                    &"a".repeat(64),
                ],
            ),
            (Target::Env, &["any thing"], &[]),
            (Target::Script(vec![]), &["any thing"], &[]),
        ] {
            assert!(good.iter().all(|text| key(&target, text).is_ok()), "{target:?}");
            for text in bad {
                assert!(key(&target, text).is_err(), "{target:?} {text}");
            }
        }
        assert_eq!(
            key(&Target::Consul, "a b").unwrap_err(),
            "consul cannot carry the key `a b`: use letters, digits, `_` and `-`"
        );
        assert_eq!(
            key(&Target::Consul, "consul-a").unwrap_err(),
            "consul cannot carry the key `consul-a`: write 128 characters at most, and leave `consul-` to Consul"
        );
    }

    #[test]
    fn each_target_has_its_own_values() {
        for (target, good, bad) in [
            (Target::Fleet, &["vol-1", "ä", "/data/a", "${x}"][..], &["a b", "a=b", "a,b", "\"", "a\n"][..]),
            (Target::Swarm, &["vol-1", "/data/a b", "[a]"], &["a=b", "a,b", "ä", "~"]),
            (Target::Mesos, &["vol-1", "/data/a", "10", "10.0.0.3"], &["a:b", "a;b", "a b"]),
            (Target::Nomad, &["${x}", "\"\\", "ä"], &["a\nb"]),
            (Target::Consul, &["a b", &"a".repeat(512)], &["\t", &"a".repeat(513)]),
            (Target::Ecs, &["a@b:c/d.e", &"a".repeat(128)], &["a b", "\\", "\"", &"a".repeat(129)]),
            (Target::Kubernetes, &["vol-1", "10.0.0.3", "a_b"], &["/data", "-a", "a-", "a b", &"a".repeat(64)]),
            (Target::Script(vec![]), &["\0\n\""], &[]),
        ] {
            assert!(good.iter().all(|text| value(&target, text).is_ok()), "{target:?}");
            for text in bad {
                assert!(value(&target, text).is_err(), "{target:?} {text}");
            }
        }
        assert_eq!(
            value(&Target::Kubernetes, "a.").unwrap_err(),
            "kubernetes cannot carry the value `a.`: write 63 characters at most, with a letter or digit at both ends"
        );
    }
}
