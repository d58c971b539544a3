// Package jcsim is a JumpCloud that runs in this process, for tests and for
// `dirgate dev jumpcloud`.
//
// A [Server] has two faces over one set of users. The REST face answers the
// v1 and v2 calls that JumpCloud documents for users, organisations, user
// groups and their members, Active Directory objects, their agents and what is
// bound to them, with an API key or a service account's tokens, page limits,
// validation and a password policy. The LDAPS face is JumpCloud's LDAP-as-a-Service: simple
// binds and searches. Passwords go in through REST and never come out; only a
// bind proves one.
//
// Directory Insights tells every change, with who made it: by the API key, the
// service account, or an administrator in the console, which is what the
// functions are that change something ([Server.EditUser], [Server.BindUser]
// and so on). [Server.SetInsights] takes it away, [Server.HoldEvents] makes it
// late.
//
// Faults can be ordered with [Server.Fail]: an error status, an answer that
// never comes (before or after the request took effect), half an answer; for
// one operation, after a number of requests, a number of times.
// [Server.Counts] and [Server.Writes] tell what was asked and what was changed.
//
// What is documented is served as documented, and what is not is kept strict
// rather than kind: names are unique without regard to case, fields of the
// wrong type are refused, and a bind fails for users who are staged,
// suspended, locked, expired or not bound to the LDAP directory; the members of
// dynamic groups cannot be written; suspended users are activated by an update
// only, and staged ones by their own call too. Whether an administrator's key
// may write restricted fields is not documented: [Server.SetRestrictedWrites].
//
// LDAP runs on gldap. gldap ends its process on some requests, serves the
// requests of one connection side by side, reads frames of any size, does not
// say which port it got and cannot stop while a client is idle. So clients
// talk to a front of our own, which ends TLS, bounds frames and nesting,
// hands over one request at a time, and answers what gldap does not know.
//
// Not guaranteed: gldap keeps bind passwords as strings, which cannot be
// cleared; nothing is stored on disk; several organisations,
// traversals of the graph and full text search of events are not served; the
// rules of dynamic groups are kept, not worked out.
//
// Specifications: JumpCloud API v1 and v2 and Directory Insights (OpenAPI
// documents of docs.jumpcloud.com); RFC 4511, 4515, 4519 and 2696 for LDAP.
package jcsim
