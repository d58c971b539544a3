package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// Use cases of a domain.
const (
	UseCaseAD        = string(identity.UseAD)        // AD is the authority
	UseCaseTwoWay    = string(identity.UseTwoWay)    // both sides are
	UseCaseJumpCloud = string(identity.UseJumpCloud) // JumpCloud is the authority
)

// What replication does with passwords that a bind or a sign-in proves.
const (
	PasswordSyncCapture      = "capture"
	PasswordSyncValidateOnly = "validate-only"
)

// Names of the credentials of a domain.
const (
	CredImportPassword = "import-password" // of ImportAccount
	CredSyncPassword   = "sync-password"   // of SyncAccount
	CredAPIKey         = "api-key"         // JumpCloud's x-api-key
	CredAgentKey       = "agent-key"       // connect key of the JumpCloud import agent
	CredSyncAgentKey   = "sync-agent-key"  // connect key of the JumpCloud sync agent
)

// Domain is a registered AD domain. Its credentials are kept apart, sealed.
type Domain struct {
	Name       string `json:"name"` // DNS name, lower case
	NetBIOS    string `json:"netbios,omitempty"`
	BaseDN     string `json:"baseDN"`
	RootDN     string `json:"rootDN,omitempty"`     // users are below this
	ScopeGroup string `json:"scopeGroup,omitempty"` // users are members of this: its DN when it was registered
	// ScopeGroupGUID finds the scope group after a rename or a move; zero
	// without a group, and in a registration that is older than the field.
	ScopeGroupGUID identity.GUID `json:"scopeGroupGUID,omitzero"`
	DCs            []string      `json:"dcs"`                // URLs
	Discover       bool          `json:"discover,omitempty"` // DNS names more of them
	Site           string        `json:"site,omitempty"`     // whose DCs DNS gives are preferred
	CAPEM          []byte        `json:"caPEM,omitempty"`    // certificates that the DCs' are checked against; none: the system's

	UseCase       string `json:"useCase"`
	PasswordSync  string `json:"passwordSync"`
	ImportAccount string `json:"importAccount,omitempty"` // bind name of the service account
	SyncAccount   string `json:"syncAccount,omitempty"`

	// Actions and Mapping say how users are imported.
	Actions identity.Actions `json:"actions,omitzero"`
	Mapping identity.Mapping `json:"mapping,omitzero"`

	JumpCloud JumpCloudRegistration `json:"jumpcloud"`
	CreatedAt time.Time             `json:"createdAt"`
	UpdatedAt time.Time             `json:"updatedAt"`
}

// JumpCloudRegistration is the other side of a Domain.
type JumpCloudRegistration struct {
	URL      string   `json:"url,omitempty"`
	LDAPURL  string   `json:"ldapURL,omitempty"`
	OrgID    string   `json:"orgID,omitempty"`
	ADID     string   `json:"adID,omitempty"` // JumpCloud's id of the AD object
	AgentIDs []string `json:"agentIDs,omitempty"`
	CAPEM    []byte   `json:"caPEM,omitempty"` // certificates that URL's is checked against; none: the system's
}

// PutDomain stores a registration and seals the credentials given, in one
// transaction. Credentials of other names are kept. The name becomes lower
// case. Registrations are not records of the log: they are no changes that
// are to be applied, and have no order among them.
func (s *Store) PutDomain(ctx context.Context, d Domain, credentials map[string]secret.Bytes) error {
	s.sealing.RLock() // no key is exchanged between sealing and storing
	defer s.sealing.RUnlock()
	d.Name = strings.ToLower(d.Name)
	sealed, err := s.sealCredentials(d.Name, credentials)
	if err == nil {
		var value []byte
		if value, err = encode(d); err == nil && len(value) > maxDomain {
			err = fmt.Errorf("%d bytes, and at most %d are stored; is the CA file what it should be?", len(value), maxDomain)
		}
	}
	if err == nil {
		err = s.submit(ctx, func(b *batch) error {
			b.setValue([]byte(prefixDomain+d.Name), d)
			for name, value := range sealed {
				b.set(keyCredential(d.Name, name), value)
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("put domain %q: %w", d.Name, err)
	}
	return nil
}

func (s *Store) sealCredentials(domain string, credentials map[string]secret.Bytes) (map[string][]byte, error) {
	if err := checkName("name", domain); err != nil {
		return nil, err
	}
	sealed := make(map[string][]byte)
	for name, credential := range credentials {
		if err := checkName("name of credential", name); err != nil {
			return nil, err
		}
		if credential.IsEmpty() {
			return nil, fmt.Errorf("credential %s is empty", name)
		}
		value, err := s.sealer.Seal(credential, credentialAAD(domain, name))
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", name, err)
		}
		sealed[name] = value
	}
	return sealed, nil
}

// Domain returns a registration, or wraps ErrNotFound.
func (s *Store) Domain(name string) (d Domain, err error) {
	err = s.viewDomains(func(txn *badger.Txn) error { return get(txn, []byte(prefixDomain+strings.ToLower(name)), &d) })
	if err != nil {
		return d, fmt.Errorf("domain %q: %w", name, err)
	}
	return d, nil
}

// Domains returns all registrations, by name.
func (s *Store) Domains() (domains []Domain, err error) {
	err = s.viewDomains(func(txn *badger.Txn) error {
		return scan(txn, []byte(prefixDomain), nil, false, func(item *badger.Item) (bool, error) {
			var d Domain
			err := item.Value(func(value []byte) error { return decode(value, &d) })
			domains = append(domains, d)
			return true, err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	return domains, nil
}

// RemoveDomain deletes a registration and its credentials. Its changes, links
// and cursors stay: registered again, the domain goes on where it was.
func (s *Store) RemoveDomain(ctx context.Context, name string) error {
	name = strings.ToLower(name)
	err := s.submit(ctx, func(b *batch) error {
		key := []byte(prefixDomain + name)
		if _, err := b.txn.Get(key); errors.Is(err, badger.ErrKeyNotFound) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		var credentials [][]byte
		err := scan(b.txn, keyCredential(name, ""), nil, false, func(item *badger.Item) (bool, error) {
			credentials = append(credentials, item.KeyCopy(nil))
			return true, nil
		})
		if err != nil {
			return err
		}
		b.delete(key)
		for _, credential := range credentials {
			b.delete(credential)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove domain %q: %w", name, err)
	}
	return nil
}

// Credential opens a credential of a domain; the caller wipes it. The error
// wraps ErrNotFound when there is none of that name.
func (s *Store) Credential(domain, name string, opener *secret.Opener) (secret.Bytes, error) {
	domain = strings.ToLower(domain)
	var sealed []byte
	err := s.viewDomains(func(txn *badger.Txn) (err error) {
		sealed, err = getBytes(txn, keyCredential(domain, name))
		return err
	})
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("credential %s of %q: %w", name, domain, err)
	}
	credential, err := opener.Open(sealed, credentialAAD(domain, name))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("credential %s of %q: %w", name, domain, err)
	}
	return credential, nil
}
