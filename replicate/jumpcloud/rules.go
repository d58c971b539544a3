package jumpcloud

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/dirgate/dirgate/store/identity"
)

// translationRule is a rule as JumpCloud answers it. The document calls the id
// "id" and base64; what is answered is objectId, 24 hex digits.
type translationRule struct {
	ObjectID    string   `json:"objectId"`
	ID          string   `json:"id"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	SourceType  string   `json:"sourceType"`
	Direction   string   `json:"direction"`
	AppliedOn   []string `json:"appliedOn"`
	Required    bool     `json:"required"`
	Default     bool     `json:"default"`
}

func (r *translationRule) id() string { return cmp.Or(r.ObjectID, r.ID) }

func (r *translationRule) toIdentity() identity.TranslationRule {
	rule := identity.TranslationRule{ID: r.id(), Source: r.Source, Destination: r.Destination, SourceType: identity.RuleSource(r.SourceType),
		Direction: identity.RuleDirection(r.Direction), Required: r.Required, Default: r.Default}
	for _, on := range r.AppliedOn {
		rule.AppliedOn = append(rule.AppliedOn, identity.RuleOccasion(on))
	}
	slices.Sort(rule.AppliedOn)
	return rule
}

// TranslationRules reads the rules by which attributes of an AD object come
// from JumpCloud's users and the other way round, in the order of their ids.
// Values that JumpCloud adds to its lists some day are kept as they are. The
// error is [NotFound] where JumpCloud has no rules for AD at all.
func (c *Client) TranslationRules(ctx context.Context, adID string) ([]identity.TranslationRule, error) {
	path, err := idPath(directories+"/", adID, "/translation-rules")
	if err != nil {
		return nil, err
	}
	found := make(map[string]identity.TranslationRule)
	for skip := 0; ; {
		var page struct {
			Rules []translationRule `json:"rules"`
			Total int               `json:"totalCount"`
		}
		if err := c.get(ctx, path, url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(skip)}}, &page); err != nil {
			return nil, err
		}
		for i := range page.Rules {
			r := &page.Rules[i]
			if r.id() == "" {
				return nil, &apiError{op: "GET " + c.basePath + path, code: http.StatusOK, stage: unknown, cause: errors.New("a rule has no id")}
			}
			found[r.id()] = r.toIdentity()
		}
		// There are some dozens: a list that changed between two pages is read anew.
		if skip += len(page.Rules); len(page.Rules) < pageSize || skip >= page.Total {
			if len(found) < page.Total {
				return nil, c.short(path, page.Total, len(found))
			}
			break
		}
	}
	rules := make([]identity.TranslationRule, 0, len(found))
	for _, r := range found {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b identity.TranslationRule) int { return cmp.Compare(a.ID, b.ID) })
	return rules, nil
}
