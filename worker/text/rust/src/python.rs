//! Where Jinja's output shows Python through: str(float), json.dumps, re.sub, time.strftime.
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use std::fmt::Write;

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// repr(float): the shortest digits that round-trip, an exponent of two digits at least.
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let text = format!("{value:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, number) = match exponent.strip_prefix('-') {
                Some(number) => ('-', number),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{number:0>2}")
        }
    }
}

/// The keyword arguments of json.dumps that chat templates may pass.
struct JsonStyle {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// tojson as transformers defines it: json.dumps, which escapes no HTML and keeps non-ASCII characters.
pub fn tojson(value: &Value, ensure_ascii: Option<bool>, kwargs: Kwargs) -> Result<Value, Error> {
    let ensure_ascii = match ensure_ascii {
        Some(given) => given,
        None => kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        None => None,
        Some(v) if v.is_none() => None,
        Some(v) => Some(match v.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(v.as_usize().filter(|n| *n <= 64).ok_or_else(|| {
                invalid("tojson: indent is neither a string nor a number in [0, 64]")
            })?),
        }),
    };
    let (mut item_separator, mut key_separator) =
        (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string());
    if let Some(given) = kwargs.get::<Option<Value>>("separators")?.filter(|v| !v.is_none()) {
        let part = |i: usize| {
            given.get_item_by_index(i).ok().and_then(|v| v.as_str().map(str::to_string)).ok_or_else(|| {
                invalid("tojson: separators is not a pair of strings")
            })
        };
        (item_separator, key_separator) = (part(0)?, part(1)?);
    }
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let style = JsonStyle { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    let mut out = String::new();
    write_json(&mut out, value, &style, 0)?;
    Ok(Value::from_safe_string(out))
}

fn new_line(out: &mut String, style: &JsonStyle, depth: usize) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.extend(std::iter::repeat(indent.as_str()).take(depth));
    }
}

fn write_json(out: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
    // Contexts come from JSON, whose reader has a limit of 128; namespaces can refer to themselves.
    if depth > 256 {
        return Err(invalid("tojson: value is nested deeper than 256"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => out.push_str(&float_repr(f64::try_from(value.clone())?)),
        ValueKind::String => write_json_string(out, value.as_str().unwrap_or_default(), style),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut empty = true;
            for item in value.try_iter()? {
                if !empty {
                    out.push_str(&style.item_separator);
                }
                empty = false;
                new_line(out, style, depth + 1);
                write_json(out, &item, style, depth + 1)?;
            }
            if !empty {
                new_line(out, style, depth);
            }
            out.push(']');
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            out.push('{');
            for (i, key) in keys.iter().enumerate() {
                if i > 0 {
                    out.push_str(&style.item_separator);
                }
                new_line(out, style, depth + 1);
                match key.as_str() {
                    Some(text) => write_json_string(out, text, style),
                    None => {
                        out.push('"');
                        write_json(out, key, style, depth + 1)?;
                        out.push('"');
                    }
                }
                out.push_str(&style.key_separator);
                write_json(out, &value.get_item(key)?, style, depth + 1)?;
            }
            if !keys.is_empty() {
                new_line(out, style, depth);
            }
            out.push('}');
        }
        other => return Err(invalid(format!("tojson: a value of kind {other} is not JSON serializable"))),
    }
    Ok(())
}

fn write_json_string(out: &mut String, text: &str, style: &JsonStyle) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (style.ensure_ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// lm-evaluation-harness's regex_replace filter: re.sub(pattern, replacement, text, count), 0 = all.
pub fn regex_replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    count: Option<usize>,
) -> Result<String, Error> {
    let regex =
        onig::Regex::with_options(pattern, onig::RegexOptions::REGEX_OPTION_NONE, onig::Syntax::python())
            .map_err(|e| invalid(format!("regex_replace: pattern '{pattern}': {}", e.description())))?;
    let parts = parse_replacement(replacement)?;
    if let Some(group) = parts.iter().filter_map(|p| p.as_ref().err()).max() {
        if *group > regex.captures_len() {
            return Err(invalid(format!("regex_replace: replacement '{replacement}' names group {group}, and pattern '{pattern}' has {}", regex.captures_len())));
        }
    }
    let limit = count.unwrap_or(0);
    Ok(regex.replacen(text, limit, |captures: &onig::Captures| {
        let mut out = String::new();
        for part in &parts {
            match part {
                Ok(literal) => out.push_str(literal),
                Err(group) => out.push_str(captures.at(*group).unwrap_or("")),
            }
        }
        out
    }))
}

/// Literal pieces (Ok) and group numbers (Err) of a Python replacement template.
fn parse_replacement(template: &str) -> Result<Vec<Result<String, usize>>, Error> {
    let bad = || invalid(format!("regex_replace: bad escape in replacement '{template}'"));
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('\\') {
        literal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let next = rest.chars().next().ok_or_else(bad)?;
        let group = if next == 'g' {
            let end = rest.find('>').filter(|_| rest.starts_with("g<")).ok_or_else(bad)?;
            let group = rest[2..end].parse().map_err(|_| bad())?;
            rest = &rest[end + 1..];
            Some(group)
        } else if next.is_ascii_digit() {
            let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
            let group = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            Some(group)
        } else {
            match next {
                'n' => literal.push('\n'),
                't' => literal.push('\t'),
                'r' => literal.push('\r'),
                '\\' => literal.push('\\'),
                c if c.is_ascii_alphabetic() => return Err(bad()),
                c => literal.extend(['\\', c]),
            }
            rest = &rest[next.len_utf8()..];
            None
        };
        if let Some(group) = group {
            parts.push(Ok(std::mem::take(&mut literal)));
            parts.push(Err(group));
        }
    }
    literal.push_str(rest);
    parts.push(Ok(literal));
    Ok(parts)
}

/// time.strftime(format, time.gmtime(seconds)).
pub fn strftime(seconds: i64, format: &str) -> Result<String, Error> {
    const LONGEST: usize = 4096;
    // strftime returns 0 both for "does not fit" and for an empty result; the trailing dot tells them apart.
    let c_format = std::ffi::CString::new(format!("{format}."))
        .map_err(|_| invalid("strftime_now: format has a NUL character"))?;
    let mut out = vec![0u8; LONGEST];
    let time = seconds as libc::time_t;
    // SAFETY: tm is plain data; strftime writes at most LONGEST bytes and reads a NUL-terminated format.
    let written = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        if libc::gmtime_r(&time, &mut tm).is_null() {
            return Err(invalid(format!("strftime_now: {seconds} is not a time")));
        }
        libc::strftime(out.as_mut_ptr() as *mut libc::c_char, LONGEST, c_format.as_ptr(), &tm)
    };
    if written == 0 {
        return Err(invalid(format!("strftime_now: format gives more than {LONGEST} bytes")));
    }
    out.truncate(written - 1);
    String::from_utf8(out).map_err(|_| invalid("strftime_now: result is not valid UTF-8"))
}
