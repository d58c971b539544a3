package ldapwire

import "fmt"

// A Control extends a request or a response (RFC 4511 section 4.1.11). It
// prints without its value.
type Control struct {
	OID         []byte
	Criticality bool
	Value       []byte
	HasValue    bool
}

// Format writes OID, criticality and the size of the value, for every verb.
func (c Control) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "control %q, critical %t, value of %d bytes", c.OID, c.Criticality, len(c.Value))
}

// A ControlList iterates over controls, checked as a whole beforehand. A copy
// iterates by itself.
type ControlList struct {
	c cursor
	n int
}

// ControlList decodes and checks the controls of the message.
func (m Message) ControlList() (ControlList, error) {
	l := ControlList{c: cursor{b: m.Controls}}
	check := l.c
	for ; check.more(); l.n++ {
		check.control()
	}
	if check.err != nil {
		return ControlList{}, fmt.Errorf("parse controls: %w", check.err)
	}
	return l, nil
}

// Len returns how many controls there are, whatever was read of them.
func (l ControlList) Len() int { return l.n }

// Next returns the next control.
func (l *ControlList) Next() (Control, bool) {
	if !l.c.more() {
		return Control{}, false
	}
	control := l.c.control()
	return control, l.c.err == nil
}

// Format writes the number of controls, for every verb.
func (l ControlList) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%d controls", l.n) }

func (c *cursor) control() Control {
	in := cursor{b: c.expect(tagSequence), err: c.err}
	control := Control{OID: in.octets()}
	if in.peek() == tagBoolean {
		control.Criticality = in.boolean()
	}
	control.Value, control.HasValue = in.optional(tagOctets)
	if err := in.finish(); err != nil {
		c.fail(err)
		return Control{}
	}
	return control
}

// AppendWithControls appends a message with controls added behind its
// operation, in place of any it had.
func AppendWithControls(dst []byte, m Message, controls ...Control) []byte {
	at := len(dst)
	dst = appendNumber(dst, tagInteger, m.ID)
	dst = appendElement(dst, byte(m.Op), m.Body)
	list := len(dst)
	for _, control := range controls {
		one := len(dst)
		dst = appendElement(dst, tagOctets, control.OID)
		if control.Criticality {
			dst = appendBoolean(dst, true)
		}
		if control.HasValue {
			dst = appendElement(dst, tagOctets, control.Value)
		}
		dst = enclose(dst, one, tagSequence)
	}
	if len(controls) > 0 {
		dst = enclose(dst, list, tagControls)
	}
	return enclose(dst, at, tagSequence)
}
