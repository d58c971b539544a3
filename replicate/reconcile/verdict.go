package reconcile

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
)

// subject is what a verdict is about.
type subject struct {
	direction identity.Direction
	guid      identity.GUID
	cloudID   string // without a GUID
}

// said is what the store has of verdicts: of each what it comes to, so that
// one that is the same is not written again and keeps its time. Their words
// stay in the store.
type said struct {
	seed  maphash.Seed
	known map[subject]uint64
	won   map[subject]store.Verdict // those that tell of a conflict
}

// readVerdicts learns what the store has.
func readVerdicts(st *store.Store, domain string) (*said, error) {
	s := &said{seed: maphash.MakeSeed(), known: make(map[subject]uint64), won: make(map[subject]store.Verdict)}
	err := st.EachVerdict(domain, s.take)
	return s, err
}

func (s *said) take(v store.Verdict) {
	of := subject{v.Direction, v.GUID, v.CloudID}
	delete(s.won, of)
	if v.IsEmpty() {
		delete(s.known, of)
		return
	}
	s.known[of] = s.sum(v)
	if v.Won != "" {
		s.won[of] = v
	}
}

// sum is over all but names and times, as the store cuts them.
func (s *said) sum(v store.Verdict) uint64 {
	v = v.Bounded()
	return maphash.String(s.seed, strings.Join(append(v.Actions, v.Skip, v.Note, v.Won, strconv.FormatBool(v.Group)), "\x00"))
}

// verdicts are those of a direction that are not what they were. A conflict
// that was decided is remembered while its object is there.
func (s *said) verdicts(d identity.Direction, p plan.Plan, w plan.World, now time.Time) (changed []store.Verdict) {
	all := make(map[subject]*store.Verdict)
	var order []subject
	for _, r := range p.Results {
		of := subject{direction: d, guid: r.GUID}
		if r.GUID.IsZero() {
			of.cloudID = r.CloudID
		}
		v := all[of]
		if v == nil {
			_, group := w.Cloud.Groups[of.cloudID]
			v = &store.Verdict{Direction: d, GUID: of.guid, CloudID: of.cloudID, Name: r.Name, Group: group, Since: now}
			all[of], order = v, append(order, of)
		}
		v.Name = r.Name // of the last turn, after names were moved out of the way
		v.Skip, v.Note = join(v.Skip, r.Skip), join(v.Note, r.Note)
		v.Actions = append(v.Actions, words(w, r.Actions)...)
		if len(r.Won) > 0 {
			v.Won, v.WonAt = join(v.Won, strings.Join(r.Won, "; ")), now
		}
	}
	for of := range s.known {
		if of.direction == d && all[of] == nil {
			all[of], order = &store.Verdict{Direction: d, GUID: of.guid, CloudID: of.cloudID, Since: now}, append(order, of)
		}
	}
	for _, of := range order {
		v := all[of]
		if old, is := s.won[of]; is && (v.Won == "" && there(w, of) || v.Bounded().Won == old.Won) {
			v.Won, v.WonAt = old.Won, old.WonAt
			if v.Name == "" {
				v.Name = old.Name
			}
		}
		if was, known := s.known[of]; v.IsEmpty() && !known || known && !v.IsEmpty() && was == s.sum(*v) {
			continue
		}
		changed = append(changed, *v)
	}
	return changed
}

// there: the object is known of on either side.
func there(w plan.World, of subject) bool {
	_, user := w.Users[of.guid]
	_, linked := w.Links[of.guid]
	_, cloud := w.Cloud.Users[of.cloudID]
	_, group := w.Cloud.Groups[of.cloudID]
	return user || linked || cloud || group || isGroup(w, of.guid)
}

func join(a, b string) string {
	if a == "" || b == "" || a == b {
		return a + strings.TrimPrefix(b, a)
	}
	return a + "; " + b
}

// words say what actions do, one for each, for people.
func words(w plan.World, actions []plan.Action) (all []string) {
	for _, a := range actions {
		all = append(all, phrase(w, a))
	}
	return all
}

// phrase is one action in words: what it does, with the values that it
// writes, and why.
func phrase(w plan.World, a plan.Action) string {
	text := strings.ReplaceAll(string(a.Kind), "-", " ")
	switch a.Kind {
	case plan.AddMember, plan.RemoveMember:
		text += " " + member(w, a.UserID)
	case plan.CreateUser, plan.CreateGroup:
		text += " " + fieldWords(w, a.Fields[:min(2, len(a.Fields))])
	default:
		if len(a.Fields) > 0 {
			text += ": " + fieldWords(w, a.Fields)
		}
	}
	if a.Reason != "" {
		text += " (" + a.Reason + ")"
	}
	return text
}

// fieldWords names fields and their values. Of lists of names only that they
// change is worth reading.
func fieldWords(w plan.World, fields []plan.Field) string {
	var parts []string
	for _, f := range fields {
		switch {
		case f.Name == plan.FieldRestrict:
			parts = append(parts, f.Name)
		case f.Name == plan.FieldManager:
			parts = append(parts, fmt.Sprintf("%s %s -> %s", f.Name, member(w, f.From), member(w, f.To)))
		case f.From == "":
			parts = append(parts, fmt.Sprintf("%s %q", f.Name, cut(f.To, 80)))
		default:
			parts = append(parts, fmt.Sprintf("%s %q -> %q", f.Name, cut(f.From, 80), cut(f.To, 80)))
		}
	}
	return strings.Join(parts, ", ")
}

// member is a JumpCloud user by name.
func member(w plan.World, id string) string {
	if guid, made := plan.Made(id); made {
		if u, ok := w.Users[guid]; ok {
			return u.Username
		}
	}
	if u, ok := w.Cloud.Users[id]; ok {
		return u.Username
	}
	if id == "" {
		return "nobody"
	}
	return id
}

// evidence is what the log keeps of an attempt: what it is about to do. The
// store takes 1024 bytes.
func (r *run) evidence(j *job) string {
	r.mu.Lock() // others make users meanwhile, and note them
	defer r.mu.Unlock()
	var all []string
	for _, result := range j.results {
		all = append(all, words(r.world, result.Actions)...)
		for _, won := range result.Won {
			all = append(all, "won: "+won)
		}
	}
	return cut(strings.Join(all, "; "), 1000)
}

// cut bounds text, on a character boundary.
func cut(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	for bytes -= len("..."); bytes > 0 && !utf8.RuneStart(text[bytes]); {
		bytes--
	}
	return text[:bytes] + "..."
}

// judge puts into batch which verdicts are not what they were.
func (i *Reconciler) judge(plans map[identity.Direction]plan.Plan, w plan.World, batch *store.ImportBatch) (err error) {
	if i.said == nil {
		if i.said, err = readVerdicts(i.cfg.Store, i.settings.Domain); err != nil {
			return err
		}
	}
	for _, d := range i.directions() {
		batch.Verdicts = append(batch.Verdicts, i.said.verdicts(d, plans[d], w, i.cfg.Now())...)
	}
	return nil
}

// judged is told whether the verdicts of a batch are stored.
func (i *Reconciler) judged(batch store.ImportBatch, err error) {
	if err != nil {
		i.said = nil // what was stored of them, the store tells
		return
	}
	for _, v := range batch.Verdicts {
		i.said.take(v)
	}
}
