//! The answer codes ("Possible error codes" in the manual, newer ones from the 9.x and 10 pages).

use crate::fake::Reply;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) number: u16,
    pub(super) status: u16,
    pub(super) text: &'static str,
}

impl Code {
    pub(super) fn find(number: u16) -> Option<&'static Self> {
        CODES.iter().find(|code| code.number == number)
    }

    pub(super) fn reply(&self) -> Reply {
        let body = format!("{{\"text\":\"{}\",\"code\":{}}}", self.text, self.number);
        Reply::json(self.status, body)
    }

    /// The same with the position of the first bad object.
    pub(super) fn at(&self, event: usize) -> Reply {
        let body = format!(
            "{{\"text\":\"{}\",\"code\":{},\"invalid-event-number\":{event}}}",
            self.text, self.number
        );
        Reply::json(self.status, body)
    }
}

/// A code that is in the table; success for one that is not.
pub(super) fn of(number: u16) -> &'static Code {
    Code::find(number).unwrap_or(&CODES[0])
}

const fn row(number: u16, status: u16, text: &'static str) -> Code {
    Code { number, status, text }
}

const CODES: &[Code] = &[
    row(0, 200, "Success"),
    row(1, 403, "Token disabled"),
    row(2, 401, "Token is required"),
    row(3, 401, "Invalid authorization"),
    row(4, 403, "Invalid token"),
    row(5, 400, "No data"),
    row(6, 400, "Invalid data format"),
    row(7, 400, "Incorrect index"),
    row(8, 500, "Internal server error"),
    row(9, 503, "Server is busy"),
    row(10, 400, "Data channel is missing"),
    row(11, 400, "Invalid data channel"),
    row(12, 400, "Event field is required"),
    row(13, 400, "Event field cannot be blank"),
    row(14, 400, "ACK is disabled"),
    row(15, 400, "Error in handling indexed fields"),
    row(16, 400, "Query string authorization is not enabled"),
    row(17, 200, "HEC is healthy"),
    row(18, 503, "HEC is unhealthy, queues are full"),
    row(19, 503, "HEC is unhealthy, ack service unavailable"),
    row(20, 503, "HEC is unhealthy, queues are full, ack service unavailable"),
    row(21, 400, "Invalid token"),
    row(22, 400, "Token disabled"),
    row(23, 503, "Server is shutting down"),
    row(24, 200, "HEC queue is approaching capacity"),
    row(25, 200, "Ack channel is approaching capacity"),
    row(26, 429, "HEC queue is at capacity"),
    row(27, 429, "Ack channel is at capacity"),
];
