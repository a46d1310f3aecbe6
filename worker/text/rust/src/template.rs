//! The template entry points: minijinja set up as lm-evaluation-harness (prompts) or transformers (chats) set up Jinja2.
use crate::python;
use crate::{guarded, Buffer, Failure, Slice, RESOURCE_EXHAUSTED};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

/// Templates come with checkpoints from strangers: this many steps is seconds, far above any real chat.
const FUEL: u64 = 50_000_000;

pub struct TemplateHandle {
    environment: Environment<'static>,
    name: String,
}

fn failure(error: Error) -> Failure {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        message.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    let code =
        if error.kind() == ErrorKind::OutOfFuel { RESOURCE_EXHAUSTED } else { crate::INVALID_ARGUMENT };
    Failure { code, message }
}

/// transformers' {% generation %} blocks mark the assistant's tokens for training; here they only render their body.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        // Behind the two characters that open it: "{%}" closes nothing.
        let Some(length) = rest[begin + 2..].find("%}") else { break };
        let end = begin + 2 + length + 2;
        out.push_str(&rest[..begin]);
        let tag = &rest[begin..end];
        let inner = &tag[2..tag.len() - 2];
        let (open, inner) = match inner.as_bytes().first() {
            Some(b'-') | Some(b'+') => inner.split_at(1),
            _ => ("", inner),
        };
        let (inner, close) = match inner.as_bytes().last() {
            Some(b'-') | Some(b'+') => inner.split_at(inner.len() - 1),
            _ => (inner, ""),
        };
        match inner.trim() {
            "generation" => out.push_str(&format!("{{%{open} if true {close}%}}")),
            "endgeneration" => out.push_str(&format!("{{%{open} endif {close}%}}")),
            _ => out.push_str(tag),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn compile(name: &str, source: &str, chat: bool) -> Result<TemplateHandle, Failure> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(chat)
        .lstrip_blocks(chat)
        .keep_trailing_newline(!chat)
        .build()
        .map_err(failure)?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(if chat {
        UndefinedBehavior::Lenient
    } else {
        UndefinedBehavior::Strict
    });
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_debug(true); // names the undefined variable in errors
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(crate::methods::call);
    environment.set_formatter(|out, state, value| {
        if value.is_number() && !value.is_integer() {
            let text = python::float_repr(f64::try_from(value.clone())?);
            return Ok(out.write_str(&text)?);
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("regex_replace", python::regex_replace);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    let source = if chat { without_generation_tags(source) } else { source.to_string() };
    environment.add_template_owned(name.to_string(), source).map_err(failure)?;
    Ok(TemplateHandle { environment, name: name.to_string() })
}

fn from_json(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (None, Some(u)) => Value::from(u),
            (None, None) => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(s),
        Json::Array(items) => Value::from(items.into_iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(pairs) => Value::from_pairs(pairs.into_iter().map(|(k, v)| (k, from_json(v)))),
    }
}

fn render(template: &TemplateHandle, context: &str, now: i64) -> Result<String, Failure> {
    let variables: serde_json::Map<String, serde_json::Value> = serde_json::from_str(context)
        .map_err(|e| Failure::invalid(format!("context is not a JSON object: {e}")))?;
    let strftime_now = Value::from_function(move |format: &str| python::strftime(now, format));
    let variables = Value::from_pairs(
        std::iter::once(("strftime_now".to_string(), strftime_now))
            .chain(variables.into_iter().map(|(name, value)| (name, from_json(value)))),
    );
    template
        .environment
        .get_template(&template.name)
        .and_then(|compiled| compiled.render(variables))
        .map_err(failure)
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_template_new(
    name: Slice,
    source: Slice,
    chat: bool,
    out: *mut *mut TemplateHandle,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        let handle = compile(name.text("name")?, source.text("source")?, chat)?;
        out.write(Box::into_raw(Box::new(handle)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_template_free(template: *mut TemplateHandle) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn mg_text_template_render(
    template: *const TemplateHandle,
    context: Slice,
    now: i64,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guarded(error, || {
        let text = render(&*template, context.text("context")?, now)?;
        out.write(Buffer::from_string(text));
        Ok(())
    })
}
