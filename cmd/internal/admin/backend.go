// Package admin is what the command line can ask of dirgate, and how it asks
// a running daemon.
//
// [Backend] is the set of operations. [Local] carries them out on an open
// store; the daemon serves a Local on a unix socket with [Handler], and
// [Client] is the same Backend from the other end. With no daemon the command
// line opens the store and uses a Local itself.
//
// The socket is the authorisation: it is created with mode 0600, so only the
// daemon's user and root reach it. Passwords and keys cross it in one
// direction only, towards the daemon, when a domain is registered.
package admin

import (
	"context"
	"io"
	"time"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// Backend is what can be asked.
type Backend interface {
	TokenBackend
	AgentBackend
	DomainBackend
	Domains(ctx context.Context) ([]store.Domain, error)
	Domain(ctx context.Context, name string) (store.Domain, error)
	Register(ctx context.Context, req RegisterRequest) (RegisterAnswer, error)
	Update(ctx context.Context, req UpdateRequest) (RegisterAnswer, error)
	// User looks in the named domain; empty: in the only one.
	User(ctx context.Context, domain, name string) (replicate.UserView, error)
	// Unlink ends the link of a user, who is named as for User or by the
	// JumpCloud username or id, and returns what it was.
	Unlink(ctx context.Context, domain, name string) (identity.Link, error)
	// Why and GroupWhy tell the story of a user and of a group, who are named as
	// they are or were called on either side.
	Why(ctx context.Context, domain, name string) (Story, error)
	GroupWhy(ctx context.Context, domain, name string) (Story, error)
	// Order says who sets and who checks the password of one linked user, and
	// ResyncUser compares one with both sides now.
	Order(ctx context.Context, q OrderRequest) (OrderAnswer, error)
	ResyncUser(ctx context.Context, domain, name string) (UserRun, error)
	// Users and Groups list what the last import saw, and Group shows one. They
	// ask neither side.
	Users(ctx context.Context, q MirrorQuery) ([]UserRow, error)
	Groups(ctx context.Context, q MirrorQuery) ([]GroupRow, error)
	Group(ctx context.Context, domain, name string) (GroupView, error)
	// Changes lists changes with their present state.
	Changes(ctx context.Context, q ChangeQuery) ([]identity.Entry, error)
	// Change is one of them.
	Change(ctx context.Context, seq identity.Seq) (identity.Entry, error)
	// Records returns log records after a sequence number, oldest first. When
	// there are none yet it waits for the first, at most for wait.
	Records(ctx context.Context, after identity.Seq, limit int, wait time.Duration) ([]store.Record, error)
	// LastSeq is the end of the log.
	LastSeq(ctx context.Context) (identity.Seq, error)
	// Verify checks the whole log.
	Verify(ctx context.Context) (store.Report, error)
	// AcceptLoss lets a damaged log go on without what is lost.
	AcceptLoss(ctx context.Context, who string) (store.Report, error)
	// RotateKeys begins a new epoch of the sealing keys.
	RotateKeys(ctx context.Context) (Rotation, error)
	// Backup writes a backup to w.
	Backup(ctx context.Context, o BackupOptions, w io.Writer) error
	Retry(ctx context.Context, seq identity.Seq) error
	Discard(ctx context.Context, seq identity.Seq, reason string) error
	// PlanImport says what replication of the named domain (empty: the only one)
	// would do with each account and group, in the directions that its use case
	// has. It writes nothing.
	PlanImport(ctx context.Context, domain string) ([]Planned, error)
	// RunImport makes one pass of an import; with full everything is compared.
	RunImport(ctx context.Context, domain string, full bool) (ImportRun, error)
	// Replication says where the directions of a domain stand (empty: of all
	// domains), and Pause stops one or lets it go on.
	Replication(ctx context.Context, domain string) ([]Replication, error)
	Pause(ctx context.Context, q PauseRequest) (Replication, error)
	// Held lists changes that a guard holds, Approve lets one pass and Reject
	// gives it up.
	Held(ctx context.Context, q HeldQuery) ([]identity.Entry, error)
	Approve(ctx context.Context, seq identity.Seq, who string) error
	Reject(ctx context.Context, seq identity.Seq, reason string) error
}

// ChangeQuery selects changes.
type ChangeQuery struct {
	Domain string            `json:"domain,omitempty"`
	Status []identity.Status `json:"status,omitempty"`
	After  identity.Seq      `json:"after,omitempty"`
	Limit  int               `json:"limit,omitempty"`
	Newest bool              `json:"newest,omitempty"`
}
