// Package jcsim is a JumpCloud that runs in this process, for tests and for
// `dirgate dev jumpcloud`.
//
// A [Server] has two faces over one set of users. The REST face answers the
// v1 and v2 calls that JumpCloud documents for users, organisations, Active
// Directory objects and agents, with an API key, page limits, validation and a
// password policy. The LDAPS face is JumpCloud's LDAP-as-a-Service: simple
// binds and searches. Passwords go in through REST and never come out; only a
// bind proves one.
//
// Faults can be ordered with [Server.Fail]: an error status, an answer that
// never comes (before or after the request took effect), half an answer.
//
// What is documented is served as documented, and what is not is kept strict
// rather than kind: names are unique without regard to case, fields of the
// wrong type are refused, and a bind fails for users who are staged,
// suspended, locked, expired or not bound to the LDAP directory.
//
// LDAP runs on gldap. gldap ends its process on some requests, serves the
// requests of one connection side by side, reads frames of any size, does not
// say which port it got and cannot stop while a client is idle. So clients
// talk to a front of our own, which ends TLS, bounds frames and nesting,
// hands over one request at a time, and answers what gldap does not know.
//
// Not guaranteed: gldap keeps bind passwords as strings, which cannot be
// cleared; nothing is stored on disk; several organisations, associations,
// groups and events are not served.
//
// Specifications: JumpCloud API v1 and v2 (OpenAPI documents of
// docs.jumpcloud.com); RFC 4511, 4515, 4519 and 2696 for LDAP.
package jcsim
