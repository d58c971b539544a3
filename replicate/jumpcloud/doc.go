// Package jumpcloud is the replicator's client of JumpCloud's REST API: v1
// under /api (users, organisations) and v2 under /api/v2 (user groups and their
// members, Active Directory objects, their agents and what is bound to them).
//
// A [Client] speaks for one organisation, with an administrator's API key or
// with the bearer tokens of a service account, which it fetches, renews before
// they end, and replaces when JumpCloud does not take one any more. It keeps to a
// request rate and to a number of requests at a time, whoever calls it.
// Requests that only read are repeated a few times when JumpCloud is busy,
// broken or away, with jittered waits and obeying Retry-After. Requests that
// write are sent once: whether to send one again is for the caller, who can
// look at what has become of the first. The one exception looks itself:
// creating a user or a group whose answer was lost reads back by name. What is
// there already, or gone already, is no error: adding a member twice, deleting
// nobody.
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
// After five failures in a row (no answer, 429, 5xx or 401) JumpCloud counts as
// away. Requests are then not sent but refused with [Away], except for one from
// time to time: after 0.5 to 1 s at first, at last every 7.5 to 15 s, and not
// before a Retry-After is over. Its answer ends the outage. [Client.Outage] says
// so, and [Client.Await] waits for the end.
//
// Updates of users send the named fields only. Fields that are lists are
// replaced as a whole by JumpCloud, and so are groups: these are read, merged
// and written, so that what others put there stays. Between the two another's
// change can be lost; JumpCloud has no version to compare.
//
// Lists are read page by page. JumpCloud has no snapshot and no cursor, only
// an offset, so a row deleted between two pages shifts the rest and makes a
// plain loop miss one. So each page overlaps the one before: a page that does
// not begin with a row that was seen is read again from further back. Users are
// read sorted by _id, which takes the memory of one page; other lists have no
// documented order, and the ids seen are kept. Where JumpCloud says how many
// rows there are, fewer are an error. A list that ends without an error has
// every row that was there from begin to end, once.
//
// Guarantees: no error, log line or metric holds the API key, a token, the
// service account's secret, a password or a connect key, even if JumpCloud
// repeats one in an answer; a password's JSON is built in a buffer that is
// cleared before SetPassword returns; redirects are not followed, so
// credentials go to the configured hosts only; answers are read up to 8 MiB.
//
// Not guaranteed: net/http and crypto/tls keep their own copies of what they
// send (the API key as a string, a password in pooled buffers), which cannot
// be cleared from here. Searching by name finds other spellings than the one
// given and its lower case only where JumpCloud's text search does. What
// JumpCloud does with an update of a restricted field, and that an empty text
// empties a field, is not documented.
//
// Specification: JumpCloud API v1 and v2 (OpenAPI documents of
// docs.jumpcloud.com). RFC 9110 10.2.3 for Retry-After; RFC 6749 2.3.1, 4.4 and
// 5.1 for tokens.
package jumpcloud
