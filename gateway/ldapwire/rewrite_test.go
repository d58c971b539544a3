package ldapwire

import (
	"bytes"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

func TestAppendMessage(t *testing.T) {
	plain := AppendModifyRequest(nil, 7, "CN=x", Mod{Op: ModReplace, Type: "a", Values: [][]byte{[]byte("1")}})
	msg, err := ParseMessage(plain)
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendMessage([]byte("before"), 7, msg.Op, msg.Body, nil); !bytes.Equal(got, append([]byte("before"), plain...)) {
		t.Errorf("got %x, want %x", got, plain)
	}
	control := []byte{0x30, 0x03, 0x04, 0x01, '1'}
	again, err := ParseMessage(AppendMessage(nil, 7, msg.Op, msg.Body, control))
	if err != nil || !bytes.Equal(again.Controls, control) || !bytes.Equal(again.Body, msg.Body) {
		t.Errorf("got %v with controls %x (%v), want %x", again, again.Controls, err, control)
	}
}

// TestAppendEditedEntry takes an entry as Windows writes it, with lengths of
// four octets, and wants what is not edited to stay that way.
func TestAppendEditedEntry(t *testing.T) {
	wide := func(tag byte, contents ...[]byte) []byte {
		all := bytes.Join(contents, nil)
		return append([]byte{tag, 0x84, 0, 0, 0, byte(len(all))}, all...)
	}
	attribute := func(name string, values ...[]byte) []byte {
		var set []byte
		for _, v := range values {
			set = append(set, wide(0x04, v)...)
		}
		return wide(0x30, wide(0x04, []byte(name)), wide(0x31, set))
	}
	keep, drop, swap := attribute("keep", []byte("1"), []byte("2")), attribute("drop", []byte("3")), attribute("swap", []byte("4"))
	frame := wide(0x30, []byte{2, 1, 9}, wide(byte(OpSearchResultEntry), wide(0x04, []byte("CN=x")), wide(0x30, keep, drop, swap)))
	msg, err := ParseMessage(frame)
	if err != nil {
		t.Fatal(err)
	}
	tail := AppendAttribute(nil, AttributeValues{Type: "tail", Values: [][]byte{[]byte("6")}})
	edited, err := AppendEditedEntry(nil, msg, func(a Attribute) []byte {
		switch string(a.Type) {
		case "drop":
			return nil
		case "swap":
			return AppendAttribute(nil, AttributeValues{Type: "swap", Values: [][]byte{[]byte("5")}})
		}
		return a.Raw
	}, tail)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseMessage(edited)
	if err != nil || got.ID != 9 || got.Op != OpSearchResultEntry {
		t.Fatalf("got %v, %v, want the entry", got, err)
	}
	if !bytes.Contains(edited, keep) {
		t.Errorf("the attribute that was left alone is not the same any more")
	}
	want := AppendSearchEntry(nil, 9, "CN=x", []AttributeValues{
		{"keep", [][]byte{[]byte("1"), []byte("2")}}, {"swap", [][]byte{[]byte("5")}}, {"tail", [][]byte{[]byte("6")}}})
	wantMsg, _ := ParseMessage(want)
	if g, w := attributesOf(t, got.Body), attributesOf(t, wantMsg.Body); g != w {
		t.Errorf("got %s, want %s", g, w)
	}
	if _, err := AppendEditedEntry(nil, Message{Op: OpSearchResultEntry, Body: []byte{1}}, func(a Attribute) []byte { return a.Raw }, nil); err == nil {
		t.Error("a malformed entry was edited")
	}
}

func attributesOf(t *testing.T, body []byte) (text string) {
	t.Helper()
	entry, err := ParseSearchEntry(body)
	if err != nil {
		t.Fatal(err)
	}
	text = string(entry.DN)
	for a, ok := entry.Next(); ok; a, ok = entry.Next() {
		text += " " + string(a.Type)
		for v, ok := a.Values.Next(); ok; v, ok = a.Values.Next() {
			text += "=" + string(v)
		}
	}
	return text
}

// TestFilters compares with another encoder, which reads text.
func TestFilters(t *testing.T) {
	equality := func(name, value string) []byte { return AppendEqualityFilter(nil, name, []byte(value)) }
	for text, got := range map[string][]byte{
		`(cn=a\2a\28\29\5c\00b)`:            equality("cn", "a*()\\\x00b"),
		`(userPrincipalName=\c3\a4@x.test)`: equality("userPrincipalName", "ä@x.test"),
		`(&(a=1)(b=2))`:                     AppendAndFilter(nil, equality("a", "1"), equality("b", "2")),
	} {
		packet, err := ldap.CompileFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		if want := packet.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", text, got, want)
		}
	}
}
