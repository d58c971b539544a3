package portal

import (
	"slices"
	"strings"
	"testing"

	"github.com/dirgate/dirgate/delegate"
)

// TestGroups: rules that could not be read are not passed over in silence, and a
// side without rules is not shown.
func TestGroups(t *testing.T) {
	for name, tt := range map[string]struct {
		policies delegate.Policies
		want     []string // side and rules
	}{
		"of both sides": {delegate.Policies{AD: &delegate.ADPolicy{MinLength: 7, Whole: true}, JumpCloud: &delegate.CloudPolicy{Numeric: true}},
			[]string{"ad min_length same", "jumpcloud numeric"}},
		"hidden, and none": {delegate.Policies{AD: new(delegate.ADPolicy), JumpCloud: new(delegate.CloudPolicy)}, []string{"ad same hidden"}},
		"of JumpCloud":     {delegate.Policies{JumpCloud: new(delegate.CloudPolicy)}, []string{"jumpcloud same"}},
		"not known":        {delegate.Policies{}, nil},
	} {
		var got []string
		for _, g := range groupsOf(english(), tt.policies, nil) {
			words := []string{g.Side}
			for _, r := range g.Rules {
				words = append(words, r.Rule)
				if r.Text == "" || r.Rule == "hidden" && r.Live {
					t.Errorf("%s: %+v", name, r)
				}
			}
			got = append(got, strings.Join(words, " "))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
