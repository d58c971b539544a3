// Package jumpcloud is the replicator's client of JumpCloud's REST API: v1
// under /api (users, organisations) and v2 under /api/v2 (Active Directory
// objects and their agents).
//
// A [Client] speaks for one organisation with one API key. It keeps to a
// request rate and to a number of requests at a time, whoever calls it.
// Requests that only read are repeated a few times when JumpCloud is busy,
// broken or away, with jittered waits and obeying Retry-After. Requests that
// write are sent once: whether to send one again is for the caller, who can
// look at what has become of the first.
//
// For that, every error says how far the request came. Exactly one of these
// holds:
//
//   - [NotSent]: JumpCloud saw nothing of it.
//   - [Refused]: JumpCloud answered that it did not do it (4xx, 503 and
//     redirects).
//   - [Unknown]: it was sent, and no answer came, or one that proves nothing
//     (cut short, not readable, or a 500, 502 or 504, which a proxy may give
//     for a request that was carried out).
//
// [Temporary], [RetryAfter], [NotFound], [Unauthorized] and [Violations] say
// more.
//
// Lists are read page by page. JumpCloud has no snapshot and no cursor, only
// an offset, so a row deleted between two pages shifts the rest and makes a
// plain loop miss one. The users' list is therefore read sorted by _id with
// each page overlapping the one before: a page that does not begin at or
// before the last row seen is read again from further back.
//
// Guarantees: no error, log line or metric holds the API key, a password or a
// connect key, even if JumpCloud repeats one in an answer; a password's JSON
// is built in a buffer that is cleared before SetPassword returns; redirects
// are not followed, so the key goes to the configured host only; answers are
// read up to 8 MiB.
//
// Not guaranteed: net/http and crypto/tls keep their own copies of what they
// send (the API key as a string, a password in pooled buffers), which cannot
// be cleared from here. Searching by name finds other spellings than the one
// given and its lower case only where JumpCloud's text search does.
//
// Specification: JumpCloud API v1 and v2 (OpenAPI documents of
// docs.jumpcloud.com). RFC 9110 10.2.3 for Retry-After.
package jumpcloud
