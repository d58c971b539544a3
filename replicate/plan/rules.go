package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/store/identity"
)

// Rules are a domain's translation rules, as far as sync carries them out. The
// zero Rules, and nil, are none.
type Rules struct {
	list []rule
	// Notes name the rules that are not carried out, or not on every occasion,
	// and why.
	Notes []string
}

// rule is one of them, understood.
type rule struct {
	attr               string
	parts              []part // the value is these one after the other
	onCreate, onUpdate bool
	required           bool
	path               string // the field, of a rule that is one field alone
}

// export is one attribute of an account, and what it is to be.
type export struct {
	attr, value string
	field       string // the JumpCloud field that the value is, if it is one
	needed      bool
}

// NewRules reads the rules of a domain. What it does not understand to the
// letter it leaves out, since a wrong value is worse than none.
func NewRules(all []identity.TranslationRule) *Rules {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b identity.TranslationRule) int {
		return cmp.Or(strings.Compare(fold(a.Destination), fold(b.Destination)), strings.Compare(a.ID, b.ID))
	})
	rules := &Rules{}
	for i := range all {
		made, note, err := readRule(&all[i])
		if err == nil && rules.clash(&made) {
			err = errors.New("another rule has that destination")
		}
		if err != nil {
			note = err.Error() + ": not carried out"
		} else if made.onCreate || made.onUpdate {
			rules.list = append(rules.list, made)
		}
		if note != "" {
			rules.Notes = append(rules.Notes, fmt.Sprintf("translation rule %s -> %s (%s): %s", all[i].Source, all[i].Destination, all[i].ID, note))
		}
	}
	return rules
}

func (r *Rules) clash(made *rule) bool {
	return slices.ContainsFunc(r.list, func(other rule) bool {
		return strings.EqualFold(other.attr, made.attr) && (other.onCreate && made.onCreate || other.onUpdate && made.onUpdate)
	})
}

// readRule understands one rule; note says on which occasion it is not carried
// out.
func readRule(t *identity.TranslationRule) (made rule, note string, err error) {
	if t.Direction != identity.RuleExport {
		return made, "", fmt.Errorf("its direction is %q, and the import has a table of its own", t.Direction)
	}
	if err := checkDestination(t.Destination); err != nil {
		return made, "", err
	}
	made = rule{attr: t.Destination, onCreate: t.Applies(identity.RuleOnCreate), onUpdate: t.Applies(identity.RuleOnUpdate), required: t.Required}
	switch t.SourceType {
	case identity.RulePath:
		made.parts, err = readPath(t.Source)
	case identity.RuleConstant:
		made.parts = []part{{text: t.Source}}
	case identity.RuleExpr:
		made.parts, err = readExpression(t.Source)
	case identity.RuleTemplate:
		made.parts, err = readTemplate(t.Source)
	default:
		err = fmt.Errorf("its source type %q is not known", t.SourceType)
	}
	if err != nil {
		return made, "", err
	}
	if len(made.parts) == 1 {
		made.path = made.parts[0].field
	}
	if made.onUpdate && named(t.Destination) {
		made.onUpdate, note = false, "names that people sign in or are found by are not changed: carried out on creation alone"
		if !made.onCreate {
			note = "names that people sign in or are found by are not changed: not carried out"
		}
	}
	return made, note, made.checkNames()
}

// checkNames: first and last name are always exported, and from nothing else.
func (r *rule) checkNames() error {
	for attr, field := range map[string]string{AttrFirst: FieldFirst, AttrLast: FieldLast} {
		if !strings.EqualFold(r.attr, attr) {
			continue
		}
		if r.path != field {
			return fmt.Errorf("%s always comes from %s", attr, field)
		}
		r.onCreate, r.onUpdate = false, false // as it is without the rule
	}
	return nil
}

// named reports whether an attribute names the account.
func named(attr string) bool {
	return strings.EqualFold(attr, AttrSAM) || strings.EqualFold(attr, AttrUPN) || strings.EqualFold(attr, AttrCN)
}

// exportable reports whether a rule may write an attribute: those that the
// writer writes, since any other would keep the whole account from being
// written, and the names of a new account. The manager is not among them: it is
// a link to another object, and a rule's value is text.
func exportable(name string) bool {
	is := func(other string) bool { return strings.EqualFold(name, other) }
	return named(name) || !is("manager") && slices.ContainsFunc(identity.ExportAttributes(), is)
}

func checkDestination(name string) error {
	key := fold(name)
	switch {
	case strings.HasPrefix(key, "customattributes."):
		return errors.New("its destination is a custom attribute, which AD does not have")
	case !attributeName(name):
		return errors.New("its destination is not the name of an attribute (RFC 4512 1.4)")
	case !exportable(name):
		return errors.New("its destination is never written by a rule")
	}
	return nil
}

// attributeName holds the form of a descr (RFC 4512 section 1.4).
func attributeName(name string) bool {
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != ""
}

// values are those of the rules for an occasion. A rule whose parts are not all
// there has no value. note names what a required rule lacks.
func (r *Rules) values(u *identity.User, domain string, on identity.RuleOccasion) (all []export, note string) {
	if r == nil {
		return nil, ""
	}
	for i := range r.list {
		rule := &r.list[i]
		if on == identity.RuleOnCreate && !rule.onCreate || on == identity.RuleOnUpdate && !rule.onUpdate {
			continue
		}
		text, whole := rule.value(u, domain)
		if rule.required && text == "" {
			note = fmt.Sprintf("the translation rule of %s is required, and the user has no value for it", rule.attr)
		}
		if whole && !(rule.required && text == "") {
			all = append(all, export{rule.attr, text, rule.path, false})
		}
	}
	return all, note
}

// value of a rule that is one field is that field, also an empty one; of
// several parts none may be empty.
func (r *rule) value(u *identity.User, domain string) (text string, whole bool) {
	var b strings.Builder
	for _, p := range r.parts {
		is := p.of(u, domain)
		if is == "" && r.path == "" {
			return "", false
		}
		b.WriteString(is)
	}
	return b.String(), true
}

// one is the value of a new account's attribute, if a rule has one.
func (r *Rules) one(u *identity.User, domain, attr string) (value string, ok bool) {
	all, _ := r.values(u, domain, identity.RuleOnCreate)
	for _, e := range all {
		if strings.EqualFold(e.attr, attr) && e.value != "" {
			return e.value, true
		}
	}
	return "", false
}

// exports are what a linked account is kept at: first and last name, and what
// the rules say.
func (r *Rules) exports(u *identity.User, domain string) (all []export, note string) {
	all, note = r.values(u, domain, identity.RuleOnUpdate)
	return append([]export{{AttrFirst, u.First, FieldFirst, true}, {AttrLast, u.Last, FieldLast, true}}, all...), note
}

// Written are the attributes that the rules write to accounts that exist, for
// which the sync account needs a right of its own: who creates an account may
// give it all its attributes.
func (r *Rules) Written() (attributes []string) {
	for i := range r.list {
		if r.list[i].onUpdate {
			attributes = append(attributes, r.list[i].attr)
		}
	}
	return attributes
}

// exported reports whether a field of JumpCloud's is kept in the very attribute
// that the import reads it from.
func (r *Rules) exported(field string) bool {
	if field == FieldFirst || field == FieldLast {
		return true
	}
	return r != nil && slices.ContainsFunc(r.list, func(rule rule) bool {
		return rule.onUpdate && rule.path == field && importedFrom(rule.attr) == field
	})
}
