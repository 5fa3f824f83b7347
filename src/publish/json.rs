//! Where in a JSON text its parts stand, so that one of them can be replaced and the rest stays byte for byte.
//! Parses nothing: the text was found to be JSON before.

use std::ops::Range;

/// The members of the object, or the elements of the array, that `text` is; each without white space around it.
pub(super) fn members(text: &str) -> Vec<Range<usize>> {
    let mut members = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b',' | b'}' | b']' => {
                if depth == 1 {
                    let member = text[start..at].trim_start();
                    members.push(at - member.len()..at - member.len() + member.trim_end().len());
                    start = at + 1;
                }
                if byte != b',' {
                    depth = depth.saturating_sub(1);
                }
            }
            _ => {}
        }
    }
    // An empty one has no member, and one end.
    members.retain(|member| !member.is_empty());
    members
}

/// Where the value of the members with this key stands in the object that `text` is.
pub(super) fn values(text: &str, key: &str) -> Vec<Range<usize>> {
    let value = |member: Range<usize>| {
        let rest = text[member.clone()].strip_prefix('"')?.strip_prefix(key)?.strip_prefix('"')?;
        let value = rest.trim_start().strip_prefix(':')?.trim_start();
        Some(member.end - value.len()..member.end)
    };
    members(text).into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_where_they_stand() {
        let parts = |text: &'static str| members(text).into_iter().map(|part| &text[part]).collect::<Vec<_>>();
        assert_eq!(parts("{}"), [""; 0]);
        assert_eq!(parts(" [ \n ] "), [""; 0]);
        assert_eq!(parts("[1, \"a,]\\\\\" ,[2,3] ]"), ["1", "\"a,]\\\\\"", "[2,3]"]);
        assert_eq!(
            parts("{\"a\" : {\"b\": [1]},\n\t\"\\\"}\": null\n}\n"),
            ["\"a\" : {\"b\": [1]}", "\"\\\"}\": null"]
        );
        let text = "{\"x\": {\"labels\": 1}, \"labels\" :\n[ 2 ], \"labels2\": 3}";
        let found: Vec<_> = values(text, "labels").into_iter().map(|part| &text[part]).collect();
        assert_eq!(found, ["[ 2 ]"]);
    }
}
