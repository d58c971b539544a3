package ad

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/store/identity"
	"github.com/go-ldap/ldap/v3"
)

// A shuffle does operations at random, of which the directory may refuse some.
type shuffle struct {
	*world
	rnd     *rand.Rand
	n       int
	objects []identity.GUID // users and groups
	groups  []identity.GUID // among them
	deleted []identity.GUID
}

func (s *shuffle) pick(from []identity.GUID) identity.GUID { return from[s.rnd.IntN(len(from))] }

func (s *shuffle) container() string {
	return []string{s.people, "OU=Inner," + s.people, "OU=Wandering," + s.people, "OU=Wandering," + s.base, "CN=Users," + s.base, "OU=Groups," + s.base}[s.rnd.IntN(6)]
}

// try is for what may be refused, but must be answered.
func (s *shuffle) try(err error) bool {
	s.t.Helper()
	var refused *ldap.Error
	if err != nil && (!errors.As(err, &refused) || refused.ResultCode >= ldap.ErrorNetwork) {
		s.t.Fatal(err)
	}
	return err == nil
}

func (s *shuffle) set(object identity.GUID, op uint, attr string, values ...string) {
	s.t.Helper()
	req := ldap.NewModifyRequest(byGUID(object), nil)
	req.Changes = []ldap.Change{{Operation: op, Modification: ldap.PartialAttribute{Type: attr, Vals: values}}}
	s.try(s.admin.Modify(req))
}

func (s *shuffle) add(class string) {
	s.n++
	name := fmt.Sprintf("%s%d", class, s.n)
	dn := "CN=" + name + "," + s.container()
	req := ldap.NewAddRequest(dn, nil)
	req.Attribute("objectClass", []string{class})
	req.Attribute("sAMAccountName", []string{name})
	if s.try(s.admin.Add(req)) {
		s.objects = append(s.objects, s.guid(dn))
		if class == "group" {
			s.groups = append(s.groups, s.guid(dn))
		}
	}
}

func (s *shuffle) step() {
	any := s.pick(s.objects)
	switch s.rnd.IntN(18) {
	case 0, 1:
		s.add("user")
	case 2:
		s.add("group")
	case 3:
		// Without the scope group nothing can be read.
		if any != s.scope && s.try(s.admin.Del(ldap.NewDelRequest(byGUID(any), nil))) {
			s.deleted = append(s.deleted, any)
		}
	case 4:
		if len(s.deleted) > 0 {
			s.n++
			s.back(s.pick(s.deleted), fmt.Sprintf("CN=back%d,%s", s.n, s.container()))
		}
	case 5, 6:
		s.n++
		s.try(s.admin.ModifyDN(ldap.NewModifyDNRequest(byGUID(any), fmt.Sprintf("CN=moved%d", s.n), true, s.container())))
	case 7:
		from, to := "OU=Wandering,"+s.people, s.base
		if s.rnd.IntN(2) == 0 {
			from, to = "OU=Wandering,"+s.base, s.people
		}
		s.try(s.admin.ModifyDN(ldap.NewModifyDNRequest(from, "OU=Wandering", true, to)))
	case 8, 9, 10:
		s.set(s.pick(s.groups), ldap.AddAttribute, "member", byGUID(any))
	case 11:
		s.set(s.pick(s.groups), ldap.DeleteAttribute, "member", byGUID(any))
	case 12, 13: // only a member may make it its primary group
		group := s.pick(s.groups)
		s.set(group, ldap.AddAttribute, "member", byGUID(any))
		s.set(any, ldap.ReplaceAttribute, "primaryGroupID", fmt.Sprint(s.rid(group)))
	case 14, 15: // into the scope, and out of it
		op := []uint{ldap.AddAttribute, ldap.DeleteAttribute}[s.rnd.IntN(2)]
		s.set(s.scope, op, "member", byGUID(s.pick(s.groups)))
	default:
		s.set(any, ldap.ReplaceAttribute, []string{"mail", "description"}[s.rnd.IntN(2)], fmt.Sprint(s.rnd.IntN(100)))
	}
}

// back is an undelete that may be refused.
func (s *shuffle) back(guid identity.GUID, dn string) {
	shown := []ldap.Control{ldap.NewControlMicrosoftShowDeleted()}
	req := ldap.NewModifyRequest(byGUID(guid), shown)
	req.Delete("isDeleted", nil)
	req.Replace("distinguishedName", []string{dn})
	s.try(s.admin.Modify(req))
}

func (s *shuffle) rid(guid identity.GUID) uint32 {
	res, err := s.admin.Search(ldap.NewSearchRequest(byGUID(guid), ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
	if !s.try(err) {
		return 513
	}
	return ridOf(res.Entries[0])
}

// TestI2_SnapshotAndChangesAgree: whatever happens, the state that changes lead
// to is that of a new snapshot, by every method, also when a batch is lost on
// its way into the store, and when the reader forgets.
func TestI2_SnapshotAndChangesAgree(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := simulated(t)
			w := d.world(t)
			s := &shuffle{world: w, rnd: rand.New(rand.NewPCG(seed, 3))}
			for _, ou := range []string{"OU=Inner," + w.people, "OU=Wandering," + w.people} {
				w.must("add OU", w.admin.Add(&ldap.AddRequest{DN: ou, Attributes: []ldap.Attribute{{Type: "objectClass", Vals: []string{"organizationalUnit"}}}}))
			}
			for _, cn := range strings.Fields("u0 u1 u2 u3 deep nested scope") {
				s.objects = append(s.objects, w.guid(w.dn(cn)))
			}
			s.groups = append(s.groups, s.objects[4:]...)
			mirrors := make(map[Method]*mirror)
			for _, m := range methods() {
				mirrors[m] = w.mirror(w.newReader(m))
			}
			for round := range 25 {
				for range 1 + s.rnd.IntN(6) {
					s.step()
				}
				want := w.mirror(w.newReader(MethodUSN))
				for method, m := range mirrors {
					switch s.rnd.IntN(6) {
					case 0: // lost: the same is asked again
						_, err := m.r.Changes(t.Context(), m.cursor)
						w.must("changes", err)
					case 1: // a new process
						m.r = w.newReader(method)
					}
					_, err := m.update(t.Context())
					w.must("changes", err)
					compare(t, fmt.Sprintf("round %d, %s", round, method), m, want)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestRangesMeetAChange: a group that changes between two ranges is read again,
// and what was read in part is no answer.
func TestRangesMeetAChange(t *testing.T) {
	d := simulated(t)
	d.addUsers("many", 1600)
	w := d.world(t)
	var members []string
	for i := range 1600 {
		members = append(members, w.dn(fmt.Sprintf("many%05d", i)))
	}
	w.addGroup("large", w.people, members...)
	large, first := w.guid(w.dn("large")), w.guid(members[0])
	r := w.newReader(MethodUSN)
	p, err := r.open(t.Context(), "")
	w.must("open", err)
	begun, err := r.memberRange(t.Context(), p, large, 0)
	w.must("read the first range", err)
	w.modify(w.dn("large"), ldap.DeleteAttribute, "member", members[0])
	w.modify(w.dn("large"), ldap.AddAttribute, "member", w.dn("u0"))
	got, err := r.members(t.Context(), p, large, begun)
	w.must("members", err)
	has := make(map[identity.GUID]bool)
	for _, g := range got {
		has[g] = true
	}
	if len(got) != 1600 || has[first] || !has[w.guid(w.dn("u0"))] {
		t.Errorf("%d members, the one that left %v, the one that joined %v", len(got), has[first], has[w.guid(w.dn("u0"))])
	}
}
