package jumpcloud

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// User is a system user, as far as the replicator looks at it. Dates and
// states are kept as JumpCloud writes them, so that a value it adds some day
// is no error.
type User struct {
	ID        string `json:"_id"` // 24 hex digits
	Username  string `json:"username"`
	Email     string `json:"email"`
	FirstName string `json:"firstname"`
	LastName  string `json:"lastname"`
	State     string `json:"state"`     // STAGED, ACTIVATED or SUSPENDED
	Activated bool   `json:"activated"` // has a password
	Suspended bool   `json:"suspended"` // the older form of State SUSPENDED

	AccountLocked          bool   `json:"account_locked"`
	PasswordExpired        bool   `json:"password_expired"`
	PasswordNeverExpires   bool   `json:"password_never_expires"`
	PasswordDate           string `json:"password_date"` // when it was last set; empty: never
	PasswordExpirationDate string `json:"password_expiration_date"`
	LDAPBindingUser        bool   `json:"ldap_binding_user"` // may search JumpCloud's LDAP

	// Who else owns the user, and which fields.
	ExternallyManaged  bool              `json:"externally_managed"`
	RestrictedFields   []RestrictedField `json:"restrictedFields"`
	DelegatedAuthority *Authority        `json:"delegatedAuthority"` // nil: JumpCloud checks the password
	ExternalDN         string            `json:"external_dn"`
	ExternalSourceType string            `json:"external_source_type"`
	ExternalExpiry     string            `json:"external_password_expiration_date"` // of the other directory's password

	DisplayName  string        `json:"displayname"`
	Description  string        `json:"description"`
	JobTitle     string        `json:"jobTitle"`
	Department   string        `json:"department"`
	Company      string        `json:"company"`
	Location     string        `json:"location"`
	EmployeeType string        `json:"employeeType"`
	Manager      string        `json:"manager"` // id of a user
	Sudo         bool          `json:"sudo"`
	PhoneNumbers []PhoneNumber `json:"phoneNumbers"`
	Addresses    []Address     `json:"addresses"`
}

// States of a user.
const (
	StateStaged    = "STAGED"
	StateActivated = "ACTIVATED"
	StateSuspended = "SUSPENDED"
)

// PhoneNumber is one of a user's.
type PhoneNumber struct {
	Type   string `json:"type"` // such as work, mobile, home or work_fax
	Number string `json:"number"`
}

// Address is one of a user's postal addresses.
type Address struct {
	Type            string `json:"type"` // work, home or other
	POBox           string `json:"poBox,omitempty"`
	ExtendedAddress string `json:"extendedAddress,omitempty"`
	StreetAddress   string `json:"streetAddress,omitempty"`
	Locality        string `json:"locality,omitempty"`
	Region          string `json:"region,omitempty"`
	PostalCode      string `json:"postalCode,omitempty"`
	Country         string `json:"country,omitempty"`
}

// RestrictedField says that a field is written by another directory only.
type RestrictedField struct {
	Field string `json:"field"` // such as "password"
	Type  string `json:"type"`  // such as "active_directory"
	ID    string `json:"id"`    // of that directory
}

// Authority is who checks a user's password instead of JumpCloud.
type Authority struct {
	Name string `json:"name"` // "ActiveDirectory"
	ID   string `json:"id"`   // of the AD object
}

// User reads one user.
func (c *Client) User(ctx context.Context, id string) (User, error) {
	var u User
	path, err := idPath("/api/systemusers/", id, "")
	if err == nil {
		err = c.get(ctx, path, nil, &u)
	}
	return u, err
}

// ListUsers reads all users of the organisation, ascending by id, a page at a
// time. An error ends the list.
func (c *Client) ListUsers(ctx context.Context) iter.Seq2[User, error] {
	return c.users(ctx, nil)
}

// FindUsers gives the users with this username or this email, whichever is
// not empty, compared without regard to case. JumpCloud's exact filter regards
// case, and its text search is documented neither as exact nor as up to date:
// unless the filter finds a user with both names, both are asked, and the
// answers compared here.
func (c *Client) FindUsers(ctx context.Context, username, email string) ([]User, error) {
	if username == "" && email == "" {
		return nil, &apiError{op: "find user", stage: notSent, cause: errors.New("a username or an email address is needed")}
	}
	var found []User
	seen := make(map[string]bool)
	both := false
	add := func(u User) {
		byName, byEmail := strings.EqualFold(u.Username, username), strings.EqualFold(u.Email, email)
		if (byName && username != "" || byEmail && email != "") && !seen[u.ID] {
			seen[u.ID], both = true, both || byName && byEmail
			found = append(found, u)
		}
	}
	for u, err := range c.users(ctx, equals(username, email)) {
		if err != nil {
			return nil, fmt.Errorf("find user %q, %q: %w", username, email, err)
		}
		add(u)
	}
	if both {
		return found, nil
	}
	if err := c.search(ctx, username, email, add); err != nil {
		return nil, fmt.Errorf("find user %q, %q: %w", username, email, err)
	}
	return found, nil
}

// equals is v1's filter for the two names, as given and in lower case.
func equals(username, email string) url.Values {
	filter := make(url.Values)
	add := func(field, value string) {
		if value != "" {
			filter.Set(fmt.Sprintf("filter[or][%d]", len(filter)), field+":$eq:"+value)
		}
	}
	for _, named := range [][2]string{{"username", username}, {"email", email}} {
		add(named[0], named[1])
		if lower := strings.ToLower(named[1]); lower != named[1] {
			add(named[0], lower)
		}
	}
	return filter
}

// search gives add the users of whom username or email have one of the two
// names as a part, in any case.
func (c *Client) search(ctx context.Context, username, email string, add func(User)) error {
	var terms, fields []string
	for _, named := range [][2]string{{"username", username}, {"email", email}} {
		if named[1] != "" {
			fields, terms = append(fields, named[0]), append(terms, named[1])
		}
	}
	body, err := jsonBody(map[string]any{"searchFilter": map[string]any{"searchTerm": terms, "fields": fields}})
	if err != nil {
		return err
	}
	for skip := 0; ; skip += pageSize {
		var page userPage
		err := c.read(ctx, call{method: http.MethodPost, path: "/api/search/systemusers", body: body, out: &page,
			query: url.Values{"limit": {strconv.Itoa(pageSize)}, "skip": {strconv.Itoa(skip)}}})
		if err != nil {
			return err
		}
		for _, u := range page.Results {
			if u.ID != "" {
				add(u)
			}
		}
		if len(page.Results) < pageSize {
			return nil
		}
	}
}
