//! What goes wrong between this agent and the API server, told apart by what follows from it.

use std::fmt;
use std::time::Duration;

use forestall_decide::Bytes;
use serde::Deserialize;

use super::slim::{each, lenient, text};
use crate::log::escape;

/// No text of the server's is quoted further.
const TEXT_CHARS_MAX: usize = 300;

/// Why there was no answer, or what the answer refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Something on this side has to be put right first.
    Setup(String),
    /// It was not wanted any more before the server was asked.
    CalledOff,
    /// The server cannot be reached, or its certificate is not believed.
    Unreachable(String),
    /// The node whose pods are asked for is another machine.
    Elsewhere(String),
    /// What has not come, and was waited for so long.
    Slow(String, Duration),
    /// The connection or an answer broke off, or is not what the protocol allows.
    Broken(String),
    /// An answer, or a line of one, has more bytes than this.
    TooLarge(usize),
    /// The server answered, and not as was asked for.
    Refused(Refusal),
    /// No token of this bound of evictions is free before so long.
    Spent {
        whose: String,
        tokens: u32,
        left: Duration,
        /// The nodes that have some.
        holders: Vec<String>,
    },
    /// No other node has room for what would come to it.
    Nowhere { holds: Bytes, nodes: usize, most: Bytes },
}

/// `metav1.Status`, as far as it is acted upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) code: u16,
    /// `reason`, such as `Forbidden` or `Expired`, escaped and cut.
    pub(crate) reason: String,
    /// `message`, escaped and cut.
    pub(crate) message: String,
    /// A disruption budget stands in the way (`policyv1.DisruptionBudgetCause`).
    pub(crate) is_budget: bool,
    /// When it may be tried again, by header or body.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the body of an answer; one that is no `Status` has no reason, and what is odd in one is left out and costs nothing else of it.
    pub(super) fn read(code: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let details = status.details;
        let in_body = Duration::from_secs(details.retry_after_seconds);
        // Which budget it is stands in the cause alone.
        let budgets: Vec<&Cause> = details
            .causes
            .iter()
            .filter(|cause| cause.reason == "DisruptionBudget")
            .collect();
        let message = if status.message.is_empty() {
            String::from_utf8_lossy(body.get(..TEXT_CHARS_MAX).unwrap_or(body)).into_owned()
        } else {
            status.message
        };
        let causes = budgets.iter().flat_map(|cause| [" ", &cause.message]);
        let message: String = std::iter::once(&*message).chain(causes).collect();
        let shown: String = message.chars().take(TEXT_CHARS_MAX).collect();
        Self {
            code,
            reason: escape::bytes(status.reason.as_bytes()),
            is_budget: !budgets.is_empty(),
            message: escape::bytes(shown.trim().as_bytes()),
            retry_after: retry_after.or((in_body > Duration::ZERO).then_some(in_body)),
        }
    }

    /// Of a 403: the cluster's rules refuse it, whatever it is about (k/k `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`,
    /// `forbiddenMessage`), and no admission plugin or webhook for this one object.
    pub(crate) fn is_by_rules(&self) -> bool {
        let words = ["User \"", "\" cannot ", " resource \""];
        words.iter().all(|words| self.message.contains(words))
    }

    /// Of an eviction's 429 or 500: it is about this pod. A server that is overloaded answers with the same codes (k/k
    /// `staging/src/k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`, `tooManyRequests`), and names neither a budget (`pkg/registry/core/pod/storage/eviction.go`)
    /// nor an admission plugin (`staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go`, `plugin/policy/validating/dispatcher.go`).
    pub(crate) fn is_of_one_pod(&self) -> bool {
        let words = ["PodDisruptionBudget", "webhook", "ValidatingAdmissionPolicy"];
        self.is_budget || words.iter().any(|words| self.message.contains(words))
    }

    /// What was being watched is gone from the server's memory: it has to be listed again.
    pub(crate) fn is_expired(&self) -> bool {
        self.code == 410 || matches!(&*self.reason, "Expired" | "Gone")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "text")]
    reason: String,
    #[serde(deserialize_with = "text")]
    message: String,
    #[serde(deserialize_with = "lenient")]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    #[serde(deserialize_with = "lenient")]
    retry_after_seconds: u64,
    #[serde(deserialize_with = "each")]
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    #[serde(deserialize_with = "text")]
    reason: String,
    #[serde(deserialize_with = "text")]
    message: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(why) | Self::Unreachable(why) | Self::Broken(why) | Self::Elsewhere(why) => {
                out.write_str(why)
            }
            Self::CalledOff => out.write_str("it was called off before the server was asked"),
            Self::TooLarge(bytes) => write!(
                out,
                "the API server's answer, or a line of it, has more than {bytes} bytes and is not read"
            ),
            Self::Spent {
                whose,
                tokens,
                left,
                holders,
            } => {
                write!(
                    out,
                    "the budget of evictions of {} is spent: all of its {tokens} tokens are held (Leases forestall-evictions-…",
                    escape::bytes(whose.as_bytes())
                )?;
                for (nth, holder) in holders.iter().enumerate() {
                    let between = if nth == 0 { ", by " } else { ", " };
                    write!(out, "{between}{}", escape::bytes(holder.as_bytes()))?;
                }
                write!(out, "), and the first is free in {} s", left.as_secs())
            }
            Self::Nowhere { holds, nodes, most } => write!(
                out,
                "it holds {} MiB, and of {nodes} other nodes whose figures are known (kubectl get nodememories) none could take that: {} MiB at the most",
                holds.0 >> 20,
                most.0 >> 20
            ),
            Self::Slow(what, after) => write!(out, "{what} within {after:?}"),
            Self::Refused(refusal) => {
                let Refusal {
                    code,
                    reason,
                    message,
                    ..
                } = refusal;
                write!(out, "the API server answers {code}")?;
                if !reason.is_empty() {
                    write!(out, " {reason}")?;
                }
                if !message.is_empty() {
                    write!(out, ": {message}")?;
                }
                match code {
                    401 => out.write_str(
                        "; its token is not accepted: see whether its ServiceAccount is still there",
                    ),
                    403 => out.write_str("; grant that right (deploy/ has the rules), or do without"),
                    _ => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_from_a_status_or_from_anything() {
        let body = br#"{"kind":"Status","status":"Failure","message":"Cannot evict pod as it would violate the pod's disruption budget.","reason":"TooManyRequests","details":{"retryAfterSeconds":10},"code":429}"#;
        let refusal = Refusal::read(429, body, None);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(10)));
        assert_eq!(refusal.reason, "TooManyRequests");
        let header = Some(Duration::from_secs(1));
        assert_eq!(Refusal::read(429, body, header).retry_after, header);
        let html = Refusal::read(502, b"<html>\x1b[2J bad gateway", None);
        assert_eq!(html.reason, "");
        assert!(html.message.contains("bad gateway") && !html.message.contains('\u{1b}'));
        assert!(Refusal::read(410, b"", None).is_expired());
        let expired = br#"{"reason":"Expired","message":"too old resource version: 1 (9)"}"#;
        assert!(Refusal::read(200, expired, None).is_expired());
    }

    #[test]
    fn a_missing_right_is_named_with_what_to_do() {
        let body = br#"{"message":"pods is forbidden: User \"system:serviceaccount:forestall:agent\" cannot list resource \"pods\"","reason":"Forbidden","code":403}"#;
        let said = Trouble::Refused(Refusal::read(403, body, None)).to_string();
        assert!(
            said.contains("cannot list resource") && said.contains("deploy/"),
            "{said}"
        );
    }
}
