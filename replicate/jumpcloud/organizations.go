package jumpcloud

import (
	"context"
	"net/url"
	"strconv"
)

// Organization is a JumpCloud organisation.
type Organization struct {
	ID          string `json:"_id"`
	DisplayName string `json:"displayName"`
	// Settings are read by Organization only.
	Settings OrganizationSettings `json:"settings"`
}

// OrganizationSettings are those that matter to replication.
type OrganizationSettings struct {
	PasswordPolicy PasswordPolicy `json:"passwordPolicy"`
	// NewUserStates are the states of users made without one.
	NewUserStates NewUserStates `json:"newSystemUserStateDefaults"`
}

// NewUserStates are each StateStaged or StateActivated.
type NewUserStates struct {
	ManualEntry       string `json:"manualEntry"`       // users made one by one, as CreateUser does
	CSVImport         string `json:"csvImport"`         // users made in bulk
	ApplicationImport string `json:"applicationImport"` // users that came from another service
}

// PasswordPolicy is the organisation's. A number counts only where its Enable
// flag, if it has one, is true.
type PasswordPolicy struct {
	EnableMinLength  bool `json:"enableMinLength"`
	MinLength        int  `json:"minLength"` // characters
	NeedsLowercase   bool `json:"needsLowercase"`
	NeedsUppercase   bool `json:"needsUppercase"`
	NeedsNumeric     bool `json:"needsNumeric"`
	NeedsSymbolic    bool `json:"needsSymbolic"`
	EnableMaxHistory bool `json:"enableMaxHistory"`
	MaxHistory       int  `json:"maxHistory"` // passwords, 1 to 24
	// AllowUsernameSubstring: the username may be a part of the password.
	AllowUsernameSubstring              bool `json:"allowUsernameSubstring"`
	DisallowCommonlyUsedPasswords       bool `json:"disallowCommonlyUsedPasswords"`
	DisallowSequentialOrRepetitiveChars bool `json:"disallowSequentialOrRepetitiveChars"`
	EnableMinChangePeriodInDays         bool `json:"enableMinChangePeriodInDays"`
	MinChangePeriodInDays               int  `json:"minChangePeriodInDays"`
	EnablePasswordExpirationInDays      bool `json:"enablePasswordExpirationInDays"`
	PasswordExpirationInDays            int  `json:"passwordExpirationInDays"`
	EnableMaxLoginAttempts              bool `json:"enableMaxLoginAttempts"`
	MaxLoginAttempts                    int  `json:"maxLoginAttempts"`
	EnableLockoutTimeInSeconds          bool `json:"enableLockoutTimeInSeconds"`
	LockoutTimeInSeconds                int  `json:"lockoutTimeInSeconds"` // 300 to 5400
}

// Organizations lists the organisations that the API key may see: a cheap
// test of the key.
func (c *Client) Organizations(ctx context.Context) ([]Organization, error) {
	var all []Organization
	for {
		var page struct {
			Results []Organization `json:"results"`
		}
		query := url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(len(all))}, "sort": {"_id"}}
		if err := c.get(ctx, "/api/organizations", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Results...)
		if len(page.Results) < pageSize {
			return all, nil
		}
	}
}

// Organization reads one organisation with its settings.
func (c *Client) Organization(ctx context.Context, id string) (Organization, error) {
	var o Organization
	path, err := idPath("/api/organizations/", id, "")
	if err == nil {
		err = c.get(ctx, path, nil, &o)
	}
	return o, err
}
