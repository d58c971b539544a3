package gateway

import (
	"fmt"
	"net/netip"

	"github.com/dirgate/dirgate/gateway/ldapwire"
)

// What one request may hold. The size of a message bounds these too, but far
// above what makes sense: in 16 MiB there is room for a million modifications,
// and for a filter that takes a DC minutes. The numbers are several times
// what tools send: groups are filled with up to 5000 members at a time, for
// Active Directory recommends no more in one transaction.
const (
	maxControls       = 100
	maxModifications  = 10_000 // of a Modify, and attributes of an Add
	maxValues         = 50_000 // of all of these
	maxFilterElements = 50_000 // three for (name=value)
	maxAttributes     = 5000   // asked for in a search

	// What sets a password does little else, or creates an account with it.
	maxPasswordModifications = 500
	maxPasswordValues        = 16 // of unicodePwd, or of userPassword
)

// longestBindPassword bounds the password of a simple bind, in bytes. AD's own
// limit is 256 UTF-16 code units, which UTF-8 needs at most 768 bytes for.
const longestBindPassword = 4096

// overLimit says why a request is too much to be passed on; nil: it is not.
// Short requests, nearly all, are not looked into.
func overLimit(msg ldapwire.Message) *requestRefusal {
	const shortest = 2 // bytes of an element
	if len(msg.Controls) > maxControls*shortest {
		// Malformed ones are left to the DC.
		if list, err := msg.ControlList(); err == nil && list.Len() > maxControls {
			return tooMany("controls", maxControls)
		}
	}
	if msg.Op != ldapwire.OpSearchRequest || len(msg.Body) <= maxAttributes*shortest {
		return nil
	}
	req, err := ldapwire.ParseSearchRequest(msg.Body)
	switch {
	case err != nil:
	case req.FilterElements() > maxFilterElements:
		return tooMany("elements in the filter", maxFilterElements)
	case req.Attributes.Len() > maxAttributes:
		return tooMany("attributes asked for", maxAttributes)
	}
	return nil
}

func tooMany(what string, limit int) *requestRefusal {
	return &requestRefusal{ldapwire.ResultAdminLimitExceeded, fmt.Sprintf("more than %d %s in one request", limit, what)}
}

// writeCount counts what a Modify or an Add holds.
type writeCount struct{ mods, values int }

func (c *writeCount) add(values ldapwire.Values) {
	c.mods++
	c.values += values.Len()
}

// refused says why a write is too much; nil: it is not.
func (c *writeCount) refused(password bool) *requestRefusal {
	switch {
	case c.mods > maxModifications:
		return tooMany("modifications", maxModifications)
	case c.values > maxValues:
		return tooMany("values", maxValues)
	case password && c.mods > maxPasswordModifications:
		return tooMany("modifications together with a password", maxPasswordModifications)
	}
	return nil
}

// refusedWrites says why a write is too much, with what it does to the two
// attributes that hold passwords.
func refusedWrites(count *writeCount, quoted, plain *passwordMods) *requestRefusal {
	for _, refused := range []*requestRefusal{count.refused(quoted.seen || plain.seen), quoted.refusedSizes(), plain.refusedSizes()} {
		if refused != nil {
			return refused
		}
	}
	return nil
}

// refusedSizes says which values no password can be, the old ones of a change
// included: a value of a megabyte keeps a DC busy for a minute.
func (p *passwordMods) refusedSizes() *requestRefusal {
	switch {
	case p.longest > longestPassword:
		return &requestRefusal{ldapwire.ResultConstraintViolation, "0000052D: the password is too long"}
	case p.added+p.deleted > maxPasswordValues:
		return &requestRefusal{ldapwire.ResultConstraintViolation, fmt.Sprintf("more than %d values of a password", maxPasswordValues)}
	}
	return nil
}

// clientKey is what connections and failures are counted by: an address, or in
// IPv6 a network of 64 bits, of which one machine can have any address.
func clientKey(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Unmap().Is4() {
		return host
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return network.String()
}
