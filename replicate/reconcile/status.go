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
	// LastPass is when the last pass of this process ended without an error, and
	// LastFull when one began that compared everything, of this process or one
	// before. NextFull is when the next one is due.
	LastPass   time.Time `json:"lastPass,omitzero"`
	LastFull   time.Time `json:"lastFull,omitzero"`
	NextFull   time.Time `json:"nextFull,omitzero"`
	Controller string    `json:"controller,omitempty"` // that changes are read from
}

func (i *Reconciler) newStatus() map[identity.Direction]*Status {
	all := make(map[identity.Direction]*Status)
	for _, d := range i.directions() {
		all[d] = &Status{Domain: i.settings.Domain, Direction: d, State: Running, Since: i.cfg.Now()}
	}
	return all
}

// Status says where its directions stand; it may be called from any goroutine.
func (i *Reconciler) Status() (all []Status, err error) {
	i.telling.Lock()
	for _, d := range i.directions() {
		all = append(all, *i.status[d])
	}
	i.telling.Unlock()
	for n := range all {
		err = errors.Join(err, all[n].LookIn(i.cfg.Store))
	}
	return all, err
}

// LookIn makes it that of a paused one, if st says so.
func (s *Status) LookIn(st *store.Store) error {
	p, is, err := st.Paused(s.Domain, s.Direction)
	if is {
		s.State, s.Since, s.For, s.Why = Paused, p.At, "", "by "+p.Who
	}
	return err
}

// tell changes what Status says of a direction.
func (i *Reconciler) tell(d identity.Direction, change func(*Status)) {
	i.telling.Lock()
	defer i.telling.Unlock()
	change(i.status[d])
}

// phase is one of all directions.
func (i *Reconciler) phase(name string) {
	for _, d := range i.directions() {
		i.tell(d, func(s *Status) { s.Phase = name })
	}
}

// passed notes how a pass ended.
func (i *Reconciler) passed(err error) {
	for _, d := range i.directions() {
		i.passedOne(d, err)
	}
}

func (i *Reconciler) passedOne(d identity.Direction, err error) {
	now := i.cfg.Now()
	quiet, of, why := i.quiet(d)
	i.tell(d, func(s *Status) {
		next := Running
		s.For, s.Why = "", ""
		switch {
		case err != nil:
			next, s.For, s.Why = Waiting, side(err), err.Error()
		case quiet.After(now):
			next, s.For, s.Why = Waiting, of, why
		case i.cloud.failed != nil:
			next, s.For, s.Why = Waiting, waitsForJumpCloud, i.cloud.failed.Error()
		}
		if s.State != next {
			s.State, s.Since = next, now
		}
		if err == nil {
			s.LastPass = now
		}
		s.LastFull = i.fullAt
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
	case errors.Is(err, ad.ErrUnavailable), errors.Is(err, ad.ErrAccountRefused), errors.Is(err, ad.ErrIncomplete), errors.Is(err, ad.ErrUnknown):
		return waitsForAD
	case jumpcloud.Temporary(err), jumpcloud.NotSent(err), jumpcloud.Unauthorized(err), jumpcloud.Unknown(err), jumpcloud.Refused(err):
		return waitsForJumpCloud
	}
	return ""
}

// begin adds what is due now to the progress, or starts it.
func (i *Reconciler) begin(d identity.Direction, due int) {
	now := i.cfg.Now()
	i.tell(d, func(s *Status) {
		s.Phase = applying
		if s.Progress.Since.IsZero() {
			s.Progress = Progress{Since: now}
		}
		s.Progress.Total = s.Progress.Done + due
	})
}

// rest ends the progress, unless more is due at once.
func (i *Reconciler) rest(d identity.Direction, next time.Time) {
	if i.more(next) {
		return
	}
	i.tell(d, func(s *Status) { s.Progress = Progress{} })
}

// away is how a side answers that everything depends on.
type away struct {
	strikes int       // failures in a row
	quiet   time.Time // until then it is left alone
	why     string
}

// quiet says until when a direction is at rest, because of whom, and why.
func (i *Reconciler) quiet(d identity.Direction) (until time.Time, of, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, side := range sidesOf(d) {
		if a := i.away[side]; a != nil && a.quiet.After(until) {
			until, of, why = a.quiet, side, a.why
		}
	}
	return until, of, why
}

// sidesOf are the sides that a direction cannot be applied without.
func sidesOf(d identity.Direction) []string {
	if d == identity.Sync {
		return []string{waitsForJumpCloud, waitsForAD}
	}
	return []string{waitsForJumpCloud}
}

func (i *Reconciler) strike(side string, n int, until time.Time, cause error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	a := i.away[side]
	if a == nil {
		a = new(away)
		i.away[side] = a
	}
	if a.strikes += n; a.strikes >= maxStrikes {
		a.quiet, a.why = until, cause.Error()
	}
}

// maxStrikes is after how many failures in a row a side is left alone.
const maxStrikes = 3

// stopped: a side does not answer, or wants to be left alone.
func (i *Reconciler) stopped(d identity.Direction) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, side := range sidesOf(d) {
		if a := i.away[side]; a != nil && a.strikes >= maxStrikes {
			return true
		}
	}
	return false
}

// answered: all that a direction needs does answer.
func (i *Reconciler) answered(d identity.Direction) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, side := range sidesOf(d) {
		if a := i.away[side]; a != nil {
			a.strikes = 0
		}
	}
}
