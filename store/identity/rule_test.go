package identity

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestTranslationRuleKeepsWhatIsNew: a value that JumpCloud adds some day
// survives the store, and applies to nothing.
func TestTranslationRuleKeepsWhatIsNew(t *testing.T) {
	rule := TranslationRule{ID: "66d000000000000000000001", Source: "firstname", Destination: "givenName", SourceType: "JSONATA",
		Direction: RuleExport, AppliedOn: []RuleOccasion{"DELETE", RuleOnUpdate}}
	raw, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}
	var got TranslationRule
	if err := json.Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, rule) {
		t.Errorf("got %+v, %v, want %+v", got, err, rule)
	}
	if rule.Applies(RuleOnCreate) || !rule.Applies(RuleOnUpdate) || !rule.Applies("DELETE") {
		t.Errorf("occasions of %v", rule.AppliedOn)
	}
}
