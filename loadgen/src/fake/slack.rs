//! A fake of Slack: incoming webhooks, `chat.postMessage` and `auth.test`.
//!
//! Written from Slack's documentation (Sending messages using incoming webhooks; chat.postMessage;
//! Reference: blocks; Formatting text for app surfaces; Rate limits).

use std::sync::Arc;

use super::ids::{self, Taken};
use super::json::Node;
use super::posts::{Post, Posts};
use super::{Categories, Fault, Reply, Visit};
use crate::account::Book;

/// A fake workspace.
#[derive(Debug)]
pub struct Slack {
    book: Arc<Book>,
    /// The token of the app; any is good when there is none.
    token: Option<String>,
    channels: Categories,
    posts: Posts,
    refusals: Vec<(&'static str, &'static str)>,
}

impl Slack {
    /// A workspace without messages.
    #[must_use]
    pub fn new(book: Arc<Book>, token: Option<String>) -> Self {
        let (channels, posts) = (Categories::default(), Posts::default());
        Self { book, token, channels, posts, refusals: Vec::new() }
    }

    /// The same with channels, by id or by the end of a webhook's URL, that answer with an error.
    #[must_use]
    pub fn refusing(mut self, channel: &'static str, error: &'static str) -> Self {
        self.refusals.push((channel, error));
        self
    }

    /// How many messages each channel has, as it goes on.
    #[must_use]
    pub fn channels(&self) -> Categories {
        self.channels.clone()
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
            self.book.note_problem("Slack takes POST", visit.method.as_str().as_bytes());
            return Self::refuse(405);
        }
        match visit.path {
            "/api/auth.test" => match self.lets_in(visit) {
                true => Reply::json(200, r#"{"ok":true,"team":"T","user":"shrike"}"#),
                false => error("invalid_auth"),
            },
            "/api/chat.postMessage" => self.post_message(visit),
            path => match path.strip_prefix("/services/T/B/") {
                Some(key) => self.hook(visit, key),
                None => {
                    self.book.note_problem("no such endpoint", path.as_bytes());
                    word(404, "no_service")
                }
            },
        }
    }

    /// What stands in front of Slack says nothing beside its status.
    pub(super) fn refuse(status: u16) -> Reply {
        word(status, if status == 429 { "rate_limited" } else { "" })
    }

    fn lets_in(&self, visit: &Visit<'_>) -> bool {
        let given = visit.header("authorization").strip_prefix("Bearer ");
        given.is_some_and(|given| self.token.as_deref().is_none_or(|good| good == given))
    }

    fn hook(&self, visit: &Visit<'_>, key: &str) -> Reply {
        if !visit.header("authorization").is_empty() {
            self.book.note_problem("a webhook needs no token", b"");
        }
        if let Some((_, error)) = self.refusals.iter().find(|(channel, _)| *channel == key) {
            return match *error {
                "no_service" | "channel_not_found" => word(404, error),
                "channel_is_archived" => word(410, error),
                "invalid_payload" | "invalid_blocks" => match has_blocks(visit.body) {
                    true => word(400, error),
                    false => self.take_hook(visit, key),
                },
                "no_text" => word(400, error),
                // What stands in front of Slack may repeat the request.
                "echo" => {
                    let said = format!("cannot POST {}", visit.path);
                    Reply { status: 403, body: said.into(), ..Reply::default() }
                }
                _ => word(403, error),
            };
        }
        self.take_hook(visit, key)
    }

    fn take_hook(&self, visit: &Visit<'_>, key: &str) -> Reply {
        match self.take(visit, key) {
            Ok((accepted, _)) => Reply { accepted, ..word(200, "ok") },
            Err(error) => word(400, error),
        }
    }

    fn post_message(&self, visit: &Visit<'_>) -> Reply {
        if !self.lets_in(visit) {
            return error("invalid_auth");
        }
        if !visit.header("content-type").starts_with("application/json") {
            self.book.note_problem("no JSON by its type", visit.header("content-type").as_bytes());
            return error("invalid_form_data");
        }
        let channel = text_of(visit.body, "channel");
        let Some(channel) = channel else {
            self.book.note_problem("a message without a channel", visit.body);
            return error("channel_not_found");
        };
        let refusal = self.refusals.iter().find(|(refused, _)| *refused == channel);
        if let Some((_, code)) = refusal
            && (!code.starts_with("invalid_") || has_blocks(visit.body))
        {
            return error(code);
        }
        if let Some(code) = self.posts.closed(&channel) {
            return error(code);
        }
        match self.take(visit, &channel) {
            Ok((accepted, ts)) => {
                let answer = format!(
                    "{{\"ok\":true,\"channel\":\"{channel}\",\"ts\":\"{ts}\",\
                     \"message\":{{\"type\":\"message\",\"ts\":\"{ts}\",\"bot_id\":\"B1\"}}}}"
                );
                Reply { accepted, ..Reply::json(200, answer) }
            }
            Err(code) => error(code),
        }
    }

    /// Takes a message, and names it; the error where it is none.
    fn take(&self, visit: &Visit<'_>, channel: &str) -> Result<(Vec<u64>, String), &'static str> {
        if visit.plan.fault == Some(Fault::Forget) {
            return Ok((Vec::new(), "1503435956.000247".to_owned()));
        }
        let node = Node::parse(visit.body).map_err(|_| {
            self.book.note_problem("a message is no JSON", visit.body);
            "invalid_payload"
        })?;
        let mut problems = Vec::new();
        let error = judge(&node, &mut problems);
        problems.iter().for_each(|problem| self.book.note_problem(problem, visit.body));
        if let Some(error) = error {
            return Err(error);
        }
        let post = self.place(&node, visit, channel)?;
        let mut taken = Taken::default();
        match ids::first(visit.body) {
            Some(id) => taken.store(&self.book, id),
            None => taken.store_text(&self.book, visit.body, "slack", channel),
        }
        taken.note(&self.book);
        self.channels.add(channel, 1);
        Ok((taken.due, self.posts.post(post)))
    }

    /// Where a message stands: in the channel, or below another one of it.
    ///
    /// "thread_ts: Provide another message's ts value to make this message a reply. Avoid using a
    /// reply's ts value; use its parent instead."
    fn place(&self, node: &Node, visit: &Visit<'_>, channel: &str) -> Result<Post, &'static str> {
        let is_broadcast = matches!(node.member("reply_broadcast"), Some(Node::Bool(true)));
        let body = String::from_utf8_lossy(visit.body).into_owned();
        let post = Post { channel: channel.to_owned(), is_broadcast, body, ..Post::default() };
        let Some(thread) = node.member("thread_ts") else {
            if node.member("reply_broadcast").is_some() {
                self.book.note_problem("a broadcast that is no reply", visit.body);
            }
            return Ok(post);
        };
        let Some(thread) = thread.text() else {
            self.book.note_problem("thread_ts is a text", visit.body);
            return Err("invalid_thread_ts");
        };
        let root = self.posts.find(thread).filter(|root| root.channel == channel);
        match root {
            Some(root) if root.is_deleted => Err("thread_not_found"),
            Some(root) => {
                if root.thread_ts.is_some() {
                    self.book.note_problem("a reply to a reply", visit.body);
                }
                Ok(Post { thread_ts: Some(thread.to_owned()), ..post })
            }
            None => {
                self.book.note_problem("a reply to no message of the channel", visit.body);
                Err("thread_not_found")
            }
        }
    }
}

/// Looks at a message; what Slack would answer where it refuses it.
fn judge(message: &Node, problems: &mut Vec<String>) -> Option<&'static str> {
    let text = message.member("text").and_then(Node::text).unwrap_or_default();
    if text.is_empty() {
        // Blocks alone are taken, and nobody can read them out.
        problems.push("no text for notifications".to_owned());
    }
    if text.chars().count() > 40_000 {
        return Some("msg_too_long");
    }
    look(text, problems);
    let empty = Vec::new();
    let list = |node: &'_ Node, key: &str| match node.member(key) {
        Some(Node::List(nodes)) => Some(nodes.clone()),
        Some(_) => None,
        None => Some(empty.clone()),
    };
    let Some(attachments) = list(message, "attachments") else {
        return Some("invalid_attachments");
    };
    if attachments.len() > 100 {
        return Some("too_many_attachments");
    }
    let Some(mut blocks) = list(message, "blocks") else { return Some("invalid_blocks") };
    for attachment in &attachments {
        let Some(own) = list(attachment, "blocks") else { return Some("invalid_blocks") };
        if own.is_empty() {
            problems.push("an attachment that draws nothing".to_owned());
        }
        if attachment.member("fallback").and_then(Node::text).is_none_or(str::is_empty) {
            problems.push("an attachment without a fallback".to_owned());
        }
        blocks.extend(own);
    }
    if blocks.len() > 50 {
        return Some("invalid_blocks");
    }
    let wrong = blocks.iter().find_map(|block| block_problem(block, problems).err());
    if let Some(what) = wrong {
        problems.push(what);
        return Some("invalid_blocks");
    }
    None
}

/// "header: text 150; section: text 3000, 10 fields of 2000; context: 10 elements; button: text 75,
/// url 3000."
fn block_problem(block: &Node, problems: &mut Vec<String>) -> Result<(), String> {
    let kind = block.member("type").and_then(Node::text).unwrap_or_default();
    let list = |key: &str| match block.member(key) {
        Some(Node::List(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    let count = |nodes: &[Node], most: usize| match (1..=most).contains(&nodes.len()) {
        true => Ok(()),
        false => Err(format!("{} elements of a {kind}", nodes.len())),
    };
    match kind {
        "divider" => Ok(()),
        "header" => text_problem(block.member("text"), &["plain_text"], 150, problems),
        "section" => {
            let fields = list("fields");
            match block.member("text") {
                Some(_) => text_problem(block.member("text"), BOTH, 3000, problems)?,
                None => count(fields, 10)?,
            }
            fields.iter().try_for_each(|it| text_problem(Some(it), BOTH, 2000, problems))
        }
        "context" => {
            count(list("elements"), 10)?;
            list("elements").iter().try_for_each(|it| text_problem(Some(it), BOTH, 2000, problems))
        }
        "actions" => {
            count(list("elements"), 25)?;
            list("elements").iter().try_for_each(|button| {
                text_problem(button.member("text"), &["plain_text"], 75, problems)?;
                let url = button.member("url").and_then(Node::text).unwrap_or_default();
                let is_url = url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some());
                match is_url && url.len() <= 3000 {
                    true => Ok(()),
                    false => Err(format!("the link of a button: {url}")),
                }
            })
        }
        other => Err(format!("no block is a {other:?}")),
    }
}

const BOTH: &[&str] = &["mrkdwn", "plain_text"];

fn text_problem(
    node: Option<&Node>,
    kinds: &[&str],
    most: usize,
    problems: &mut Vec<String>,
) -> Result<(), String> {
    let node = node.ok_or("a block without its text")?;
    let kind = node.member("type").and_then(Node::text).unwrap_or_default();
    if !kinds.contains(&kind) {
        return Err(format!("a text that is {kind:?}"));
    }
    let text = node.member("text").and_then(Node::text).unwrap_or_default();
    let count = text.chars().count();
    if !(1..=most).contains(&count) {
        return Err(format!("a text of {count} characters where {most} may be"));
    }
    look(text, problems);
    Ok(())
}

/// "You should replace &, <, > in text that is not meant as markup": no event of ours means any.
fn look(text: &str, problems: &mut Vec<String>) {
    let is_entity = |rest: &str| ["&amp;", "&lt;", "&gt;"].iter().any(|it| rest.starts_with(it));
    let is_bare = text.match_indices('&').any(|(at, _)| !is_entity(&text[at..]));
    if is_bare || text.contains(['<', '>']) {
        problems.push(format!("markup out of an event: {text}"));
    }
}

/// A text among the members of a body.
fn text_of(body: &[u8], key: &str) -> Option<String> {
    Node::parse(body).ok()?.member(key).and_then(Node::text).map(str::to_owned)
}

fn has_blocks(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"blocks\"").is_some()
}

fn word(status: u16, word: &'static str) -> Reply {
    Reply {
        status,
        content_type: "text/html",
        body: bytes::Bytes::from_static(word.as_bytes()),
        ..Reply::default()
    }
}

/// "HTTP 200 with `ok: false`."
fn error(code: &str) -> Reply {
    let mut reply = Reply::json(200, format!("{{\"ok\":false,\"error\":\"{code}\"}}"));
    if code == "ratelimited" {
        reply.headers.push(("retry-after", "1".to_owned()));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_judged_by_its_blocks() {
        let judged = |body: &str| {
            let mut problems = Vec::new();
            let error = judge(&Node::parse(body.as_bytes()).expect("JSON"), &mut problems);
            (error, problems.len())
        };
        let text = |len: usize| "x".repeat(len);
        let header = |len| {
            format!(
                r#"{{"text":"a","blocks":[{{"type":"header","text":{{"type":"plain_text","text":"{}"}}}}]}}"#,
                text(len)
            )
        };
        assert_eq!(judged(&header(150)), (None, 0));
        assert_eq!(judged(&header(151)), (Some("invalid_blocks"), 1));
        assert_eq!(judged(r#"{"text":"<!channel>"}"#), (None, 1));
        assert_eq!(judged(r#"{"text":"a &amp; b"}"#), (None, 0));
        assert_eq!(
            judged(r##"{"text":"a","attachments":[{"color":"#fff","fallback":"a"}]}"##),
            (None, 1)
        );
        assert_eq!(judged(r#"{"blocks":[{"type":"divider"}]}"#), (None, 1));
        assert_eq!(
            judged(r#"{"text":"a","blocks":[{"type":"video"}]}"#),
            (Some("invalid_blocks"), 1)
        );
        let fields = [r#"{"type":"mrkdwn","text":"a"}"#; 11].join(",");
        let section =
            format!(r#"{{"text":"a","blocks":[{{"type":"section","fields":[{fields}]}}]}}"#);
        assert_eq!(judged(&section), (Some("invalid_blocks"), 1));
    }
}
