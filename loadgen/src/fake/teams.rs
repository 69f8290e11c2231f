//! A fake of Microsoft Teams' webhooks: workflows of Power Automate, and Office 365 connectors.
//!
//! Written from Microsoft's documentation (Create incoming webhooks with Workflows for Microsoft
//! Teams; Use incoming webhooks; Adaptive Cards schema 1.4; legacy actionable message card; Rate
//! limiting).

use std::sync::Arc;

use super::ids::{self, Taken};
use super::json::Node;
use super::posts::{Post, Posts};
use super::{Categories, Fault, Reply, Visit};
use crate::account::Book;

/// A fake team.
#[derive(Debug)]
pub struct Teams {
    book: Arc<Book>,
    manner: TeamsManner,
    cards: Categories,
    posts: Posts,
}

/// What takes messages, and what it does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeamsManner {
    /// Whether it is a connector, which says `1`; else a workflow, which says 202.
    pub is_connector: bool,
    /// Whether Adaptive Cards are refused with 400.
    pub refuses_adaptive: bool,
    /// Bytes of a message at most; the product's own 28 KB when there are none.
    pub bytes_max: Option<usize>,
}

impl Teams {
    /// A team without messages.
    #[must_use]
    pub fn new(book: Arc<Book>, manner: TeamsManner) -> Self {
        Self { book, manner, cards: Categories::default(), posts: Posts::default() }
    }

    /// How many cards of each kind each flow has, as it goes on.
    #[must_use]
    pub fn cards(&self) -> Categories {
        self.cards.clone()
    }

    /// The messages themselves, as it goes on.
    #[must_use]
    pub fn posts(&self) -> Posts {
        self.posts.clone()
    }

    /// Answers one request.
    #[must_use]
    pub fn answer(&self, visit: &Visit<'_>) -> Reply {
        if visit.method != http::Method::POST {
            self.book.note_problem("a webhook takes POST", visit.method.as_str().as_bytes());
            return Self::refuse(405);
        }
        let Some(flow) = visit.path.strip_prefix("/workflows/") else {
            self.book.note_problem("no such flow", visit.path.as_bytes());
            return Self::refuse(404);
        };
        // "sig" holds for the whole query, byte for byte.
        if visit.query != QUERY {
            self.book.note_problem("another query than that of the URL", visit.query.as_bytes());
            return Self::refuse(401);
        }
        if flow.starts_with("gone") {
            return Self::refuse(404);
        }
        if visit.plan.fault == Some(Fault::Forget) {
            return self.taken(Vec::new());
        }
        if !visit.header("content-type").starts_with("application/json") {
            self.book.note_problem("no JSON by its type", visit.header("content-type").as_bytes());
            return self.refused(400, "UnsupportedMediaType");
        }
        if visit.body.len() > self.manner.bytes_max.unwrap_or(MESSAGE_BYTES_MAX) {
            if self.manner.bytes_max.is_none() {
                self.book.note_problem("a message above 28 KB", b"");
            }
            return self.refused(413, "RequestEntityTooLarge");
        }
        let mut problems = Vec::new();
        let judged = Node::parse(visit.body).and_then(|node| judge(&node, &mut problems));
        problems.iter().for_each(|problem| self.book.note_problem(problem, visit.body));
        let kind = match judged {
            Ok(Card::Adaptive) if self.manner.refuses_adaptive => {
                return self.refused(400, "TriggerInputSchemaMismatch");
            }
            Ok(Card::Adaptive) => "adaptive",
            Ok(Card::Message) => "message",
            Err(problem) => {
                self.book.note_problem(&problem, visit.body);
                return self.refused(400, "InvalidCard");
            }
        };
        let mut taken = Taken::default();
        match ids::first(&without_escapes(visit.body)) {
            Some(id) => taken.store(&self.book, id),
            None => taken.store_text(&self.book, visit.body, "teams", flow),
        }
        taken.note(&self.book);
        self.cards.add(&format!("{flow} {kind}"), 1);
        let body = String::from_utf8_lossy(visit.body).into_owned();
        self.posts.post(Post { channel: flow.to_owned(), body, ..Post::default() });
        self.taken(taken.due)
    }

    /// What the gateway in front of a flow says.
    pub(super) fn refuse(status: u16) -> Reply {
        Reply::json(status, format!("{{\"error\":{{\"code\":\"Status{status}\"}}}}"))
    }

    fn taken(&self, accepted: Vec<u64>) -> Reply {
        match self.manner.is_connector {
            true => Reply { accepted, ..text("1".to_owned()) },
            false => Reply { status: 202, accepted, ..Reply::default() },
        }
    }

    /// "A connector answers 200 and says in the body what went wrong."
    fn refused(&self, status: u16, code: &str) -> Reply {
        match self.manner.is_connector {
            true => text(format!(
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned \
                 HTTP error {status} with ContextId tcid=0 {code}"
            )),
            false => Reply::json(status, format!("{{\"error\":{{\"code\":\"{code}\"}}}}")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Card {
    Adaptive,
    Message,
}

/// Looks at a message: which card it carries.
fn judge(message: &Node, problems: &mut Vec<String>) -> Result<Card, String> {
    let text = |path: &str| message.at(path).and_then(Node::text).unwrap_or_default();
    if text("@type") == "MessageCard" {
        if text("@context").is_empty() {
            return Err("a MessageCard without its context".to_owned());
        }
        if text("summary").is_empty() {
            return Err("Summary or Text is required.".to_owned());
        }
        let theme = text("themeColor");
        if theme.len() != 6 || !theme.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            problems.push(format!("a theme colour that is none: {theme}"));
        }
        look(message, problems);
        return Ok(Card::Message);
    }
    if text("type") != "message" {
        return Err("a body that is no message".to_owned());
    }
    let Some(Node::List(attachments)) = message.member("attachments") else {
        return Err("a message without attachments".to_owned());
    };
    let [attachment] = attachments.as_slice() else {
        return Err(format!("{} attachments", attachments.len()));
    };
    let kind = attachment.member("contentType").and_then(Node::text).unwrap_or_default();
    if kind != "application/vnd.microsoft.card.adaptive" {
        return Err(format!("an attachment of type {kind}"));
    }
    let card = attachment.member("content").ok_or("an attachment without content")?;
    let of_card = |key: &str| card.member(key).and_then(Node::text).unwrap_or_default();
    if of_card("type") != "AdaptiveCard" || of_card("version") != "1.4" {
        return Err("no Adaptive Card of version 1.4".to_owned());
    }
    let Some(Node::List(body)) = card.member("body") else {
        return Err("a card without a body".to_owned());
    };
    body.iter().try_for_each(element)?;
    if let Some(actions) = card.member("actions") {
        let Node::List(actions) = actions else { return Err("actions are no list".to_owned()) };
        actions.iter().try_for_each(action)?;
    }
    look(card, problems);
    Ok(Card::Adaptive)
}

fn element(node: &Node) -> Result<(), String> {
    let text = |key: &str| node.member(key).and_then(Node::text).unwrap_or_default();
    match text("type") {
        "TextBlock" => {
            let colour = text("color");
            if !["", "default", "dark", "light", "accent", "good", "warning", "attention"]
                .contains(&colour)
            {
                return Err(format!("a text of colour {colour}"));
            }
            match text("text").is_empty() {
                true => Err("a TextBlock without text".to_owned()),
                false => Ok(()),
            }
        }
        "FactSet" => match node.member("facts") {
            Some(Node::List(facts)) if !facts.is_empty() => {
                let is_fact = |fact: &Node| {
                    let has = |key| fact.member(key).and_then(Node::text).is_some();
                    has("title") && has("value")
                };
                match facts.iter().all(is_fact) {
                    true => Ok(()),
                    false => Err("a fact without title or value".to_owned()),
                }
            }
            _ => Err("a FactSet without facts".to_owned()),
        },
        other => Err(format!("no element is a {other:?}")),
    }
}

fn action(node: &Node) -> Result<(), String> {
    let text = |key: &str| node.member(key).and_then(Node::text).unwrap_or_default();
    let is_url = text("url").parse::<http::Uri>().is_ok_and(|url| url.host().is_some());
    match text("type") == "Action.OpenUrl" && !text("title").is_empty() && is_url {
        true => Ok(()),
        false => Err(format!("no link: {node:?}")),
    }
}

/// "TextBlock and facts take a subset of Markdown": no event of ours means any.
fn look(node: &Node, problems: &mut Vec<String>) {
    match node {
        Node::List(nodes) => nodes.iter().for_each(|node| look(node, problems)),
        Node::Object(members) => {
            for (key, node) in members {
                let is_shown = ["text", "value", "activityTitle", "activitySubtitle"];
                match node.text() {
                    Some(text) if is_shown.contains(&key.as_str()) && has_markup(text) => {
                        problems.push(format!("markup out of an event: {text}"));
                    }
                    _ => look(node, problems),
                }
            }
        }
        _ => {}
    }
}

/// Whether a character of Markdown stands without a backslash before it.
fn has_markup(text: &str) -> bool {
    let mut is_escaped = false;
    text.chars().any(|char| {
        let is_bare = !is_escaped && "*_[]()#~<>`".contains(char);
        is_escaped = char == '\\' && !is_escaped;
        is_bare
    })
}

/// Ids have no character that Markdown knows, so this only helps texts around them.
fn without_escapes(body: &[u8]) -> Vec<u8> {
    body.iter().copied().filter(|&byte| byte != b'\\').collect()
}

fn text(said: String) -> Reply {
    Reply { status: 200, content_type: "text/plain", body: said.into(), ..Reply::default() }
}

/// The query of every flow: a signature with what normalising would change.
pub const QUERY: &str = "api-version=1&sp=%2Ftriggers%2Fmanual%2frun&sv=1.0&sig=a%2Bb+c~d%3d";
/// "The message size limit is 28 KB."
const MESSAGE_BYTES_MAX: usize = 28 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_is_found_where_nothing_escapes_it() {
        for (text, expected) in [
            ("plain - text", false),
            (r"a\_b", false),
            ("a_b", true),
            (r"a\\_b", true),
            (r"\[x\]\(y\)", false),
            ("[x](y)", true),
        ] {
            assert_eq!(has_markup(text), expected, "{text}");
        }
    }

    #[test]
    fn cards_are_told_apart() {
        let judged =
            |body: &str| judge(&Node::parse(body.as_bytes()).expect("JSON"), &mut Vec::new());
        let card = r#"{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":{"type":"AdaptiveCard","version":"1.4","body":[{"type":"TextBlock","text":"a"}]}}]}"#;
        assert_eq!(judged(card), Ok(Card::Adaptive));
        assert!(judged(&card.replace("1.4", "1.6")).is_err());
        assert!(judged(&card.replace(r#""text":"a""#, r##""text":"a","color":"#fff""##)).is_err());
        let old = r#"{"@type":"MessageCard","@context":"http://schema.org/extensions","summary":"a","themeColor":"0078D7"}"#;
        assert_eq!(judged(old), Ok(Card::Message));
        assert!(judged(&old.replace("summary", "title")).is_err());
    }
}
