//! Templates of the operator's: Handlebars, compiled once, rendered from a document.
//!
//! Text is escaped for where it goes: inside a JSON body as JSON, so that no event can break it.
//! There are no partials, no files and no code.

mod values;

use std::fmt;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, Output, PathAndJson,
    RenderContext, RenderError, RenderErrorReason, Renderable, ScopedJson, TemplateErrorReason,
};
use serde::de::IgnoredAny;
use serde_json::Value;

use values::shown;

/// A template as the operator wrote it, and what it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateText {
    /// The text.
    pub text: String,
    /// How values are written into it.
    pub escape: Escape,
    /// Whether a value that is not there is a mistake.
    pub is_strict: bool,
    /// Whether what is rendered is one line, since it stands in a body of lines.
    pub is_line: bool,
}

/// How values are written into a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As JSON text without its quotes; what is rendered must be JSON.
    Json,
    /// Percent-encoded, as in forms and URLs.
    Form,
    /// As they are.
    None,
}

/// A compiled template.
pub struct Template {
    registry: Handlebars<'static>,
    escape: Escape,
    is_line: bool,
}

/// Why a template does not compile, or an event cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error("{0}")]
    Text(String),
    /// A value is missing, or a helper was given something that it does not take.
    #[error("{0}")]
    Render(String),
    /// What was rendered is no JSON.
    #[error("what was rendered is no JSON: {0}")]
    NoJson(String),
    /// Rendering it met a defect of ours.
    #[error("rendering it met a defect of shrike, which its log tells of")]
    Defect,
    /// What was rendered is too long.
    #[error("what was rendered has more than {RENDERED_MAX} bytes")]
    TooLong,
}

impl TemplateError {
    /// The class for dead letters.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NoJson(_) => "template_invalid_json",
            Self::Defect => "defect",
            Self::Text(_) | Self::Render(_) | Self::TooLong => "template",
        }
    }
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// When it is no template, or asks for partials, decorators or helpers that there are not.
    pub fn compile(text: &TemplateText) -> Result<Self, TemplateError> {
        refuse_partials(&text.text)?;
        let mut registry = Handlebars::new();
        registry.set_strict_mode(text.is_strict);
        registry.register_escape_fn(match text.escape {
            Escape::Json => quoted,
            Escape::Form => percent,
            Escape::None => |text: &str| text.to_owned(),
        });
        for &(name, make) in HELPERS {
            registry.register_helper(name, Box::new(Made(make)));
        }
        registry.register_helper("json", Box::new(AsJson));
        registry.register_helper("eq", Box::new(Equal));
        registry.register_helper("log", Box::new(Refused));
        registry
            .register_template_string(NAME, &text.text)
            .map_err(|error| TemplateError::Text(words(&error)))?;
        let template = Self { registry, escape: text.escape, is_line: text.is_line };
        // Helpers are looked up when a template is rendered, so a sample tells what is misspelled.
        if !text.is_strict {
            template.run(Value::Object(serde_json::Map::new()), &mut Vec::new())?;
        }
        Ok(template)
    }

    /// Renders a document, which is JSON.
    ///
    /// # Errors
    /// When a helper fails, a value is missing where all are wanted, or the result is no JSON where
    /// it must be, or too long; `out` then holds a part of it.
    pub fn render(&self, document: &[u8], out: &mut Vec<u8>) -> Result<(), TemplateError> {
        serde_json::from_slice::<IgnoredAny>(document)
            .map_err(|error| TemplateError::Render(format!("the document is no JSON: {error}")))?;
        let start = out.len();
        self.run(values::value(document.trim_ascii()), out)?;
        if self.escape == Escape::Json {
            serde_json::from_slice::<IgnoredAny>(&out[start..])
                .map_err(|error| TemplateError::NoJson(error.to_string()))?;
        }
        if self.is_line {
            join_lines(start, out);
        }
        Ok(())
    }

    fn run(&self, document: Value, out: &mut Vec<u8>) -> Result<(), TemplateError> {
        let mut capped = Capped { out, left: RENDERED_MAX };
        let context = Context::from(document);
        let rendered = self.registry.render_with_context_to_write(NAME, &context, &mut capped);
        match rendered {
            Ok(()) => Ok(()),
            Err(_) if capped.left == 0 => Err(TemplateError::TooLong),
            Err(error) => Err(TemplateError::Render(error.to_string())),
        }
    }
}

/// Makes one line of what stands from byte `start` on.
///
/// In JSON a line break is a blank, as none stands inside a text; in other text one that an event
/// brought would begin a line of its own.
fn join_lines(start: usize, out: &mut Vec<u8>) {
    let end = out.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    out.truncate(end.max(start));
    for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template").field("escape", &self.escape).finish_non_exhaustive()
    }
}

/// Where a text is no template; what the grammar expected instead helps nobody.
fn words(error: &handlebars::TemplateError) -> String {
    let place = error.pos().map(|(line, column)| format!("line {line}, column {column}: "));
    let place = place.unwrap_or_default();
    match error.reason() {
        TemplateErrorReason::InvalidSyntax(_) => format!(
            "{place}it is no template from here on; is a block such as {{{{#if}}}} not ended, or a \
             brace missing?"
        ),
        reason => format!("{place}{reason}"),
    }
}

/// A writer that ends at a bound.
struct Capped<'o> {
    out: &'o mut Vec<u8>,
    left: usize,
}

impl std::io::Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.left {
            self.left = 0;
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.left -= bytes.len();
        values::pieces(bytes, |piece| self.out.extend_from_slice(piece));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a helper makes of its first value and its second, where it takes one.
type Make = fn(&Value, Option<&Value>) -> Result<Value, &'static str>;

/// A helper whose result is escaped like any value.
struct Made(Make);

impl HelperDef for Made {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let first = helper.param(0).map_or(&Value::Null, PathAndJson::value);
        let second = helper.param(1).map(PathAndJson::value);
        let made = (self.0)(first, second)
            .map_err(|problem| wrong(format!("{}: {problem}", helper.name())))?;
        Ok(ScopedJson::Derived(made))
    }
}

/// `{{json x}}`: the value as JSON, not escaped once more.
struct AsJson;

impl HelperDef for AsJson {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).map_or(&Value::Null, PathAndJson::value);
        out.write(&values::as_json(value))?;
        Ok(())
    }
}

/// `{{#eq a "x"}} .. {{else}} .. {{/eq}}`, and `(eq a "x")`.
struct Equal;

impl HelperDef for Equal {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Ok(ScopedJson::Derived(Value::Bool(is_equal(helper))))
    }

    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rendering: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let part = if is_equal(helper) { helper.template() } else { helper.inverse() };
        match part {
            Some(part) => part.render(registry, context, rendering, out),
            None => Ok(()),
        }
    }
}

fn is_equal(helper: &Helper<'_>) -> bool {
    let value = |at| helper.param(at).map(PathAndJson::value);
    matches!((value(0), value(1)), (Some(a), Some(b)) if values::is_equal(a, b))
}

/// A helper of the library that reaches outside.
struct Refused;

impl HelperDef for Refused {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Err(wrong(format!("there is no helper {}", helper.name())))
    }
}

fn wrong(text: String) -> RenderError {
    RenderErrorReason::Other(text).into()
}

/// Partials and decorators would need other templates or code.
fn refuse_partials(text: &str) -> Result<(), TemplateError> {
    for (at, _) in text.match_indices("{{") {
        let inside = text[at + 2..].trim_start_matches(['~', '{', ' ']);
        if inside.starts_with(['>', '*']) || inside.starts_with("#>") || inside.starts_with("#*") {
            let line = text[..at].matches('\n').count() + 1;
            let problem = format!("line {line}: partials and decorators are not offered");
            return Err(TemplateError::Text(problem));
        }
    }
    Ok(())
}

/// Helpers that make a value.
const HELPERS: &[(&str, Make)] = &[
    ("upper", |value, _| Ok(shown(&value.render()).to_uppercase().into())),
    ("lower", |value, _| Ok(shown(&value.render()).to_lowercase().into())),
    ("urlencode", |value, _| Ok(percent(&value.render()).into())),
    ("default", |value, other| {
        let other = other.ok_or("needs what stands for an absent value")?;
        let is_absent = value.is_null() || value.as_str() == Some("");
        Ok(if is_absent { other.clone() } else { value.clone() })
    }),
    ("truncate", |value, most| {
        let most = most.and_then(Value::as_u64).ok_or("needs a number of characters")?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(shown(&value.render()).chars().take(most).collect::<String>().into())
    }),
    ("iso", |value, _| Ok(value.clone())),
    ("epoch", |value, _| Ok(epoch_ms(value).map_or(Value::Null, |ms| ms.div_euclid(1000).into()))),
    ("epoch_ms", |value, _| Ok(epoch_ms(value).map_or(Value::Null, Value::from))),
];

/// Milliseconds since 1970 of an RFC 3339 text.
fn epoch_ms(value: &Value) -> Option<i64> {
    let format = &time::format_description::well_known::Rfc3339;
    let time = time::OffsetDateTime::parse(value.as_str()?, format).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// Text as JSON spells it, without quotes.
fn quoted(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Everything but unreserved characters as `%XX` (RFC 3986, 2.1).
fn percent(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for byte in shown(text).bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => spelled.push(char::from(byte)),
            false => spelled.push_str(&format!("%{byte:02X}")),
        }
    }
    spelled
}

const NAME: &str = "template";

/// Bytes that a template may render: a megabyte (`webhook.md`).
pub const RENDERED_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, escape: Escape, is_strict: bool) -> Result<String, TemplateError> {
        let text = TemplateText { text: text.to_owned(), escape, is_strict, is_line: false };
        rendered(&text, EVENT)
    }

    fn rendered(text: &TemplateText, event: &str) -> Result<String, TemplateError> {
        let mut out = Vec::new();
        Template::compile(text)?.render(event.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).expect("templates render text"))
    }

    const EVENT: &str = r#"{
        "event_id":"e-1","timestamp":"2026-02-06T09:00:03.120Z",
        "decision":{"allowed":false,"severity":"high","reason":"a \"b\" {{c}} \\ \n\u00e9"},
        "resource":{"port":443,"host":"x y.example"},"labels":{"a":"1","b":"2"},"list":[1,2],
        "empty":""
    }"#;

    #[test]
    fn values_are_escaped_for_json() {
        let cases = [
            (r#"{"r":"{{decision.reason}}"}"#, r#"{"r":"a \"b\" {{c}} \\ \né"}"#),
            (
                r#"{"r":{{json decision}}}"#,
                r#"{"r":{"allowed":false,"reason":"a \"b\" {{c}} \\ \né","severity":"high"}}"#,
            ),
            (r#"{"p":{{resource.port}},"a":{{decision.allowed}}}"#, r#"{"p":443,"a":false}"#),
            (
                r#"["{{upper decision.severity}}","{{truncate decision.reason 3}}"]"#,
                r#"["HIGH","a \""]"#,
            ),
            (
                r#"["{{default missing "none"}}","{{default empty "none"}}","{{missing}}"]"#,
                r#"["none","none",""]"#,
            ),
            (
                r#"[{{epoch timestamp}},{{epoch_ms timestamp}},"{{iso timestamp}}"]"#,
                r#"[1770368403,1770368403120,"2026-02-06T09:00:03.120Z"]"#,
            ),
            (r#"["{{urlencode resource.host}}"]"#, r#"["x%20y.example"]"#),
            (r#"[{{#each list}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]"#, "[1,2]"),
            (r#"{{#if decision.allowed}}1{{else}}2{{/if}}"#, "2"),
            (r#"{{#unless decision.allowed}}1{{/unless}}"#, "1"),
            (r#"{{#eq decision.severity "high"}}1{{else}}2{{/eq}}"#, "1"),
            (r#"{{#eq decision.severity "low"}}1{{else}}2{{/eq}}"#, "2"),
            (r#"{{#if (eq decision.severity "high")}}1{{/if}}"#, "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(render(text, Escape::Json, false).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_bodies_have_other_escapes() {
        let text = "r={{decision.reason}}";
        let form = "r=a%20%22b%22%20%7B%7Bc%7D%7D%20%5C%20%0A%C3%A9";
        assert_eq!(render(text, Escape::Form, false).as_deref(), Ok(form));
        assert_eq!(render(text, Escape::None, false).as_deref(), Ok("r=a \"b\" {{c}} \\ \né"));
    }

    #[test]
    fn what_cannot_be_rendered_is_told() {
        let cases = [
            (r#"{"r":"{{{decision.reason}}}"}"#, false, "template_invalid_json"),
            ("{{missing}}", false, "template_invalid_json"),
            (r#""{{missing}}""#, true, "template"),
            ("{{> other}}", false, "template"),
            ("{{#> other}}{{/other}}", false, "template"),
            ("{{* inline}}", false, "template"),
            ("{{log decision}}", false, "template"),
            ("{{nosuch decision}}", false, "template"),
            ("{{#if a}}", false, "template"),
            ("{{truncate event_id}}", false, "template"),
        ];
        for (text, is_strict, class) in cases {
            let error = render(text, Escape::Json, is_strict).expect_err(text);
            assert_eq!(error.class(), class, "{text}: {error}");
        }
    }

    #[test]
    fn numbers_are_rendered_as_they_are_written() {
        let numbers = r#""n":1e400,"a":18446744073709551617,"b":[-0.10,7],"c":0.0,"d":"1e400""#;
        // A text of an event is one, also if it begins with what marks numbers here.
        let event = format!(r#"{{{numbers},"e":"\ufdd08"}}"#);
        let cases = [
            ("[{{n}},{{json n}},{{json c}}]", "[1e400,1e400,0.0]"),
            (r#"["{{upper n}}","{{truncate n 3}}"]"#, r#"["1E400","1e4"]"#),
            ("[{{default n 1}},{{json (default n 1)}}]", "[1e400,1e400]"),
            ("[{{a}},{{{a}}},{{json b}}]", "[18446744073709551617,18446744073709551617,[-0.10,7]]"),
            ("[{{#each b}}{{this}}{{#unless @last}},{{/unless}}{{/each}}]", "[-0.10,7]"),
            ("{{#eq b.[0] -0.1}}1{{else}}2{{/eq}}", "1"),
            ("{{#eq a n}}1{{else}}2{{/eq}}", "2"),
            ("{{#eq n d}}1{{else}}2{{/eq}}", "2"),
            ("[{{#if n}}1{{/if}}{{#if c}}2{{/if}}]", "[1]"),
            (r#"[{{json d}},{{json e}}]"#, "[\"1e400\",\"\u{fffd}8\"]"),
        ];
        for (text, expected) in cases {
            let (text, escape) = (text.to_owned(), Escape::Json);
            let text = TemplateText { text, escape, is_strict: false, is_line: false };
            assert_eq!(rendered(&text, &event).as_deref(), Ok(expected), "{}", text.text);
        }
        let (text, escape) = ("{{n}}&{{urlencode b.[0]}}".to_owned(), Escape::Form);
        let text = TemplateText { text, escape, is_strict: true, is_line: false };
        assert_eq!(rendered(&text, &event).as_deref(), Ok("1e400&-0.10"));
    }

    #[test]
    fn a_document_is_as_deep_as_events_may_be() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(140), "]".repeat(140));
        let (text, escape) = (r#"{"r":{{json a}}}"#.to_owned(), Escape::Json);
        let text = TemplateText { text, escape, is_strict: true, is_line: false };
        assert_eq!(rendered(&text, &deep), Ok(deep.replace("\"a\"", "\"r\"")));
    }

    #[test]
    fn a_template_ends_at_a_megabyte() {
        let inner = "x".repeat(1000);
        let text = (0..12).fold(inner, |text, _| format!("{{{{#each list}}}}{text}{{{{/each}}}}"));
        let text = text.replace("{{#each list}}", "{{#each @root.list}}");
        assert_eq!(render(&text, Escape::None, false), Err(TemplateError::TooLong));
    }
}
