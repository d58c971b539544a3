package plan

import (
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// merge puts into want what JumpCloud is to keep of a linked user, where both
// sides are edited (rule S5): what was edited there and not in AD. Of that,
// sync carries to AD what it exports; the rest stays, and note names it.
func (c *UserCase) merge(want *identity.User, v *Verdict) (note string) {
	if c.Use != identity.UseTwoWay {
		return ""
	}
	agreed := make(map[string]string)
	var kept []string
	for _, name := range c.fields() {
		pair := compared{name, c.Link.Agreed[name], value(want, name), value(c.Cloud, name), c.Rules.exported(name), name == FieldFirst || name == FieldLast}
		if name == FieldEmail {
			c.mail(&pair)
		}
		to, won := pair.resolve()
		switch {
		case to == identity.JumpCloud:
			if won != "" {
				v.Won = append(v.Won, won)
			}
		case to == "" && (pair.ad == pair.cloud || name == FieldEmail && strings.EqualFold(pair.ad, pair.cloud)):
			if _, made := Made(pair.ad); pair.base != pair.ad && !made {
				agreed[name] = pair.ad
			}
		default:
			Set(want, name, pair.cloud)
			if to == "" {
				kept = append(kept, name)
			}
		}
	}
	a := Agreement{Fields: agreed, Bound: c.Bound && !c.Link.WasBound}
	a.Lifted = !c.AD.Disabled && !c.Cloud.Disabled && (c.Link.DisabledByUs || c.Link.SuspendedByUs)
	if len(agreed) > 0 || a.Bound || a.Lifted {
		v.Agreed = &a
	}
	if len(kept) > 0 {
		return "edited in JumpCloud, not exported to AD, and left so: " + strings.Join(kept, ", ")
	}
	return ""
}

// fields are those that are compared with what was agreed.
func (c *UserCase) fields() []string {
	names := []string{FieldEmail, FieldFirst, FieldLast}
	if c.Mapping.BasicOnly {
		return names
	}
	for _, f := range profileFields {
		names = append(names, f.name)
	}
	return append(names, FieldManager)
}

// mail: where it is exported, AD's is the attribute alone, and JumpCloud's is
// never empty. An address that was given to make room for another's is not an
// edit.
func (c *UserCase) mail(pair *compared) {
	if pair.exported {
		pair.ad, pair.needed = c.AD.Mail, true
	}
	if local, _, _ := strings.Cut(pair.cloud, "@"); strings.HasSuffix(local, "."+roomMark(c.Link.GUID)) {
		pair.base = pair.cloud
	}
}

// roomMark is put to a name to make room for another's.
func roomMark(guid identity.GUID) string { return guid.String()[:8] }
