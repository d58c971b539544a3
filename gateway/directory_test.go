package gateway

import (
	"strings"
	"sync"
	"testing"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

const (
	baseDN   = "DC=corp,DC=example,DC=test"
	configDN = "CN=Configuration," + baseDN
	aliceSID = "S-1-5-21-1-2-3-1104"
)

var aliceSIDBytes = []byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0x50, 4, 0, 0}

// directory is a DC that knows alice and itself, and keeps what it was asked.
type directory struct {
	heuristics string
	names      map[string]int // filter, as bytes, to how many entries it finds
	// answer replaces the success to a write.
	answer func(ldapwire.Message) []byte
	// hidden: nobody can be read.
	hidden bool

	mu       sync.Mutex
	writes   []ldapwire.Message // guarded by mu
	searches []string           // bases; guarded by mu
}

func (d *directory) serve(p *peer) {
	for msg := range p.requests() {
		switch msg.Op {
		case ldapwire.OpSearchRequest:
			p.send(d.search(msg))
		case ldapwire.OpModifyRequest, ldapwire.OpAddRequest:
			d.mu.Lock()
			d.writes = append(d.writes, msg)
			d.mu.Unlock()
			if d.answer != nil {
				answer := d.answer(msg)
				if answer == nil {
					return
				}
				p.send(answer)
				continue
			}
			p.send(plainAnswer(msg))
		default:
			p.send(plainAnswer(msg))
		}
	}
}

func (d *directory) search(msg ldapwire.Message) []byte {
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	if err != nil {
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultProtocolError, "", "")
	}
	base := string(req.BaseDN)
	d.mu.Lock()
	d.searches = append(d.searches, base)
	d.mu.Unlock()
	value := func(name string, v []byte) ldapwire.AttributeValues {
		return ldapwire.AttributeValues{Type: name, Values: [][]byte{v}}
	}
	var frame []byte
	switch {
	case base == "":
		frame = ldapwire.AppendSearchEntry(nil, msg.ID, "", []ldapwire.AttributeValues{value("defaultNamingContext", []byte(baseDN)),
			value("configurationNamingContext", []byte(configDN)), value("tokenGroups", aliceSIDBytes)})
	case strings.HasPrefix(base, "CN=Directory Service,"):
		if d.heuristics != "" {
			frame = ldapwire.AppendSearchEntry(nil, msg.ID, base, []ldapwire.AttributeValues{value("dSHeuristics", []byte(d.heuristics))})
		}
	case req.Scope == ldapwire.ScopeSubtree:
		for range d.names[string(req.Filter)] {
			frame = ldapwire.AppendSearchEntry(frame, msg.ID, aliceDN, nil)
		}
	case d.hidden:
		return ldapwire.AppendSearchDone(nil, msg.ID, ldapwire.ResultNoSuchObject, "", "")
	default:
		return plainAnswer(msg)
	}
	return ldapwire.AppendSearchDone(frame, msg.ID, ldapwire.ResultSuccess, "", "")
}

func (d *directory) write(t *testing.T) ldapwire.Message {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.writes) != 1 {
		t.Fatalf("the DC had %d writes, want 1", len(d.writes))
	}
	return d.writes[0]
}

func (d *directory) counts() (writes, searches int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.writes), len(d.searches)
}

// attrs shows what a write does, with passwords in the clear.
func attrs(t *testing.T, msg ldapwire.Message) string {
	t.Helper()
	var out []string
	show := func(op, name string, values ldapwire.Values) {
		line := op + " " + name
		for v, ok := values.Next(); ok; v, ok = values.Next() {
			if strings.EqualFold(name, "unicodePwd") {
				password, err := ldapwire.DecodeUnicodePwd(v)
				if err != nil {
					t.Fatal(err)
				}
				v = []byte(`"` + string(password.Expose()) + `"`)
			}
			line += " " + string(v)
		}
		out = append(out, line)
	}
	switch msg.Op {
	case ldapwire.OpModifyRequest:
		req, err := ldapwire.ParseModifyRequest(msg.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(req.DN))
		for mod, ok := req.Next(); ok; mod, ok = req.Next() {
			show(mod.Op.String(), string(mod.Type), mod.Values)
		}
	case ldapwire.OpAddRequest:
		req, err := ldapwire.ParseAddRequest(msg.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(req.DN))
		for attr, ok := req.Next(); ok; attr, ok = req.Next() {
			show("with", string(attr.Type), attr.Values)
		}
	}
	return strings.Join(out, "; ")
}

func modOf(op ldapwire.ModOp, typ string, values ...string) ldapwire.Mod {
	m := ldapwire.Mod{Op: op, Type: typ}
	for _, v := range values {
		m.Values = append(m.Values, []byte(v))
	}
	return m
}
