package reconcile

import (
	"errors"
	"time"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// State is whether a direction of a domain works.
type State string

const (
	// Running: it follows, or works on what it found.
	Running State = "running"
	// Paused: a person has stopped it; changes are recorded, and wait.
	Paused State = "paused"
	// Waiting: something that it needs does not answer or is refused.
	Waiting State = "waiting"
)

// Sides that a Waiting direction may wait for.
const (
	waitsForAD        = "Active Directory"
	waitsForJumpCloud = "JumpCloud"
)

// Phases of a pass.
const (
	readingAD        = "reading Active Directory"
	readingJumpCloud = "reading JumpCloud"
	applying         = "applying changes"
)

// Progress is how far a piece of work has come: from when there was something
// to do until nothing is due any more. It counts changes, each of a user or a
// group.
type Progress struct {
	Since time.Time `json:"since,omitzero"` // zero: nothing is worked on
	Done  int       `json:"done"`
	Total int       `json:"total"`
}

// Status is where one direction of a domain stands.
type Status struct {
	Domain    string             `json:"domain"`
	Direction identity.Direction `json:"direction"`
	State     State              `json:"state"`
	For       string             `json:"for,omitempty"`  // what a Waiting one waits for, where that is known
	Why       string             `json:"why,omitempty"`  // of Paused and Waiting
	Since     time.Time          `json:"since,omitzero"` // of State
	Phase     string             `json:"phase,omitempty"`
	Progress  Progress           `json:"progress,omitzero"`
	// LastPass is when the last pass ended without an error, and LastFull when
	// one did that compared everything, in this process. NextFull is when the
	// next one is due.
	LastPass   time.Time `json:"lastPass,omitzero"`
	LastFull   time.Time `json:"lastFull,omitzero"`
	NextFull   time.Time `json:"nextFull,omitzero"`
	Controller string    `json:"controller,omitempty"` // that changes are read from
}

// Status says where it stands; it may be called from any goroutine.
func (i *Reconciler) Status() (Status, error) {
	i.telling.Lock()
	s := i.status
	i.telling.Unlock()
	s.Domain, s.Direction = i.settings.Domain, identity.Import
	return s, s.LookIn(i.cfg.Store)
}

// LookIn makes it that of a paused one, if st says so.
func (s *Status) LookIn(st *store.Store) error {
	p, is, err := st.Paused(s.Domain, s.Direction)
	if is {
		s.State, s.Since, s.For, s.Why = Paused, p.At, "", "by "+p.Who
	}
	return err
}

// tell changes what Status says.
func (i *Reconciler) tell(change func(*Status)) {
	i.telling.Lock()
	defer i.telling.Unlock()
	change(&i.status)
}

func (i *Reconciler) phase(name string) { i.tell(func(s *Status) { s.Phase = name }) }

// passed notes how a pass ended.
func (i *Reconciler) passed(err error) {
	now := i.cfg.Now()
	i.mu.Lock()
	quiet, why := i.quiet, i.complaint
	i.mu.Unlock()
	i.tell(func(s *Status) {
		next := Running
		s.For, s.Why = "", ""
		switch {
		case err != nil:
			next, s.For, s.Why = Waiting, side(err), err.Error()
		case quiet.After(now):
			next, s.For, s.Why = Waiting, waitsForJumpCloud, why
		}
		if s.State != next {
			s.State, s.Since = next, now
		}
		if err == nil {
			s.LastPass = now
		}
		s.LastFull = i.comparedAt
		s.NextFull = time.Time{}
		if !i.fullAt.IsZero() {
			s.NextFull = i.fullAt.Add(i.cfg.FullEvery)
		}
		if i.dir != nil {
			s.Controller = i.dir.cursor.Controller()
		}
	})
}

// side is who an error of a pass comes from, where that is known.
func side(err error) string {
	switch {
	case errors.Is(err, ad.ErrUnavailable), errors.Is(err, ad.ErrAccountRefused), errors.Is(err, ad.ErrIncomplete):
		return waitsForAD
	case jumpcloud.Temporary(err), jumpcloud.NotSent(err), jumpcloud.Unauthorized(err), jumpcloud.Unknown(err), jumpcloud.Refused(err):
		return waitsForJumpCloud
	}
	return ""
}

// begin adds what is due now to the progress, or starts it.
func (i *Reconciler) begin(due int) {
	now := i.cfg.Now()
	i.tell(func(s *Status) {
		s.Phase = applying
		if s.Progress.Since.IsZero() {
			s.Progress = Progress{Since: now}
		}
		s.Progress.Total = s.Progress.Done + due
	})
}

func (i *Reconciler) step() { i.tell(func(s *Status) { s.Progress.Done++ }) }

// rest ends the progress, unless more is due at once.
func (i *Reconciler) rest(next time.Time) {
	if i.more(next) {
		return
	}
	i.tell(func(s *Status) { s.Progress = Progress{} })
}
