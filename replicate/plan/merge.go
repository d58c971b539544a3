package plan

import (
	"slices"
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
	var agreed map[string]string
	var kept []string
	c.eachCompared(want, func(name, ad, cloud string) {
		base := c.Link.Agreed[name]
		if ad == cloud && ad == base && name != FieldEmail {
			return // nobody has edited it
		}
		pair := compared{name, base, ad, cloud, c.Rules.exported(name), name == FieldFirst || name == FieldLast}
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
				if agreed == nil {
					agreed = make(map[string]string)
				}
				agreed[name] = pair.ad
			}
		default:
			Set(want, name, pair.cloud)
			if to == "" {
				kept = append(kept, name)
			}
		}
	})
	bound := c.Bound && !c.Link.WasBound
	if len(agreed) > 0 || bound {
		v.Agreed = &Agreement{Fields: agreed, Bound: bound}
	}
	if len(kept) > 0 {
		return "edited in JumpCloud, not exported to AD, and left so: " + strings.Join(kept, ", ")
	}
	return ""
}

// eachCompared visits the fields that are compared with what was agreed, and
// what both sides have. The visitor may change want.
func (c *UserCase) eachCompared(want *identity.User, visit func(name, ad, cloud string)) {
	visit(FieldEmail, want.Mail, c.Cloud.Mail)
	visit(FieldFirst, want.First, c.Cloud.First)
	visit(FieldLast, want.Last, c.Cloud.Last)
	if c.Mapping.BasicOnly {
		return
	}
	ad, cloud := profile(&want.Profile), profile(&c.Cloud.Profile)
	for i := range profileFields {
		visit(profileFields[i].name, *ad[i], *cloud[i])
	}
	visit(FieldManager, want.Manager.ID, c.Cloud.Manager.ID)
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

// lifted tells what of our disabling is over. A conflict that sync settles is
// left to it.
func (c *UserCase) lifted(v *Verdict) {
	activated := c.Link.SuspendedByUs && !c.Cloud.Disabled && !slices.ContainsFunc(v.Actions, func(a Action) bool { return a.Kind == Suspend })
	enabled := c.Link.DisabledByUs && !c.AD.Disabled && !(c.Cloud.Disabled && c.Use.Syncs())
	if !activated && !enabled {
		return
	}
	if v.Agreed == nil {
		v.Agreed = &Agreement{}
	}
	v.Agreed.Activated, v.Agreed.Enabled = activated, enabled
}
