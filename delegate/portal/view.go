package portal

import (
	"slices"
	"time"

	"github.com/dirgate/dirgate/delegate"
)

// reasonView is a notice: what happened, what it means, what to do next.
type reasonView struct {
	Key  string
	Tone string // warn or bad
	Wait time.Duration
}

// reasonOf is the notice of a reason.
func reasonOf(reason delegate.Reason, by delegate.Authority, wait time.Duration) *reasonView {
	v := &reasonView{Key: "reason." + string(reason), Tone: "bad", Wait: soonest(wait)}
	switch reason {
	case delegate.Throttled, delegate.Unavailable, delegate.PasswordPending, delegate.NoCloudLDAP, ended, unsure, delegate.DelegationPending:
		v.Tone = "warn"
	case delegate.Expired:
		if by == delegate.ByJumpCloud {
			v.Key += "_jumpcloud"
		}
	}
	return v
}

// ruleView is one rule of a password, as the page shows it and its script
// checks it.
type ruleView struct {
	Side, Rule string
	Limit      int
	Text       string
	// Live: the script can check it; else only the directory can.
	Live   bool
	Broken bool
}

// ruleGroup is the rules of one side.
type ruleGroup struct {
	Side  string
	Rules []ruleView
}

// ruleCommon is JumpCloud's, which it alone can check.
const ruleCommon delegate.Rule = "common"

// Sides, as delegate writes them.
const (
	sideAD        = "ad"
	sideJumpCloud = "jumpcloud"
)

// ruleHidden stands for those that could not be read.
const ruleHidden delegate.Rule = "hidden"

// groupsOf lays out the rules of both sides, if they have any. n says which the
// server found broken.
func groupsOf(t *texts, p delegate.Policies, n *note) []ruleGroup {
	broken := func(side string, rule delegate.Rule) bool {
		if n == nil {
			return false
		}
		for _, v := range n.Broken {
			if string(v.Side) == side && v.Rule == rule {
				return true
			}
		}
		return false
	}
	var groups []ruleGroup
	if ad := p.AD; ad != nil {
		groups = append(groups, group(t, sideAD, broken, []ruleFact{
			{ad.MinLength > 0, delegate.RuleMinLength, ad.MinLength, true},
			{ad.Complexity, delegate.RuleComplexity, 3, true},
			{ad.Complexity, delegate.RuleNameInside, 0, true},
			{true, delegate.RuleSame, 0, true},
			{ad.History > 1, delegate.RuleHistory, ad.History, false},
			{ad.MinAge > 0, delegate.RuleMinAge, int(ad.MinAge / time.Second), false},
			{!ad.Whole, ruleHidden, 0, false},
		}))
	}
	if jc := p.JumpCloud; jc != nil {
		groups = append(groups, group(t, sideJumpCloud, broken, []ruleFact{
			{jc.MinLength > 0, delegate.RuleMinLength, jc.MinLength, true},
			{p.AD == nil, delegate.RuleSame, 0, true},
			{jc.Lowercase, delegate.RuleLowercase, 0, true},
			{jc.Uppercase, delegate.RuleUppercase, 0, true},
			{jc.Numeric, delegate.RuleNumeric, 0, true},
			{jc.Symbolic, delegate.RuleSymbolic, 0, true},
			{jc.NoUsername, delegate.RuleNameInside, 0, true},
			{jc.NoSequences, delegate.RuleSequential, 0, true},
			{jc.DisallowCommon, ruleCommon, 0, false},
			{jc.History > 0, delegate.RuleHistory, jc.History, false},
		}))
	}
	return slices.DeleteFunc(groups, func(g ruleGroup) bool { return len(g.Rules) == 0 })
}

type ruleFact struct {
	holds bool
	rule  delegate.Rule
	limit int
	live  bool
}

func group(t *texts, side string, broken func(string, delegate.Rule) bool, facts []ruleFact) ruleGroup {
	g := ruleGroup{Side: side}
	for _, f := range facts {
		if f.holds {
			g.Rules = append(g.Rules, ruleView{Side: side, Rule: string(f.rule), Limit: f.limit, Live: f.live,
				Text: t.rule(side, f.rule, f.limit), Broken: broken(side, f.rule)})
		}
	}
	return g
}

// brokenRules says which rules a password breaks, in the reader's language.
func brokenRules(t *texts, list []delegate.Violation) []ruleView {
	var out []ruleView
	for _, v := range list {
		out = append(out, ruleView{Side: string(v.Side), Rule: string(v.Rule), Limit: v.Limit, Text: t.broken(v), Broken: true})
	}
	return out
}
