package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/dirgate/dirgate/replicate"
	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/store"
	"github.com/dirgate/dirgate/store/identity"
	"github.com/dirgate/dirgate/store/secret"
)

// DefaultJumpCloudURL is JumpCloud's console for a registration that names no
// other.
const DefaultJumpCloudURL = "https://console.jumpcloud.com"

// RegisterRequest is `domain register`. What is nil is not given: it stays as
// it is stored, and has its default in a new registration. What is given and
// empty is cleared. The secrets are plain bytes here because they must cross
// the socket; they become secret.Bytes on arrival.
type RegisterRequest struct {
	Name            string   `json:"name"` // DNS name of the domain
	DCs             []string `json:"dcs,omitempty"`
	Discover        *bool    `json:"discover,omitempty"`
	Site            *string  `json:"site,omitempty"`
	CAPEM           *string  `json:"caPEM,omitempty"`
	UseCase         *string  `json:"useCase,omitempty"`
	RootDN          *string  `json:"rootDN,omitempty"`
	ScopeGroup      *string  `json:"scopeGroup,omitempty"`
	PasswordSync    *string  `json:"passwordSync,omitempty"`
	ImportAccount   *string  `json:"importAccount,omitempty"`
	ImportPassword  []byte   `json:"importPassword,omitempty"`
	SyncAccount     *string  `json:"syncAccount,omitempty"`
	SyncPassword    []byte   `json:"syncPassword,omitempty"`
	JumpCloudURL    *string  `json:"jumpcloudURL,omitempty"`
	JumpCloudLDAP   *string  `json:"jumpcloudLDAP,omitempty"`
	JumpCloudCAPEM  *string  `json:"jumpcloudCAPEM,omitempty"`
	JumpCloudOrgID  *string  `json:"jumpcloudOrgID,omitempty"`
	JumpCloudAPIKey []byte   `json:"jumpcloudAPIKey,omitempty"`
	// Confirmed: a person agreed to what Merge warns of.
	Confirmed bool `json:"confirmed,omitempty"`

	noKey bool // a service account is used instead of an API key
}

// Wipe clears the secrets.
func (r *RegisterRequest) Wipe() {
	clear(r.ImportPassword)
	clear(r.SyncPassword)
	clear(r.JumpCloudAPIKey)
}

// RegisterAnswer says what was checked and stored.
type RegisterAnswer struct {
	Domain store.Domain      `json:"domain"`
	Checks []replicate.Check `json:"checks"`
}

// Merge gives the registration that is asked for, from the one that is stored
// (nil: none is). The warnings say what of it changes for everyone in the
// domain; it is done only when Confirmed. An error is a request that makes no
// sense, in the words of the command line's flags.
func (r *RegisterRequest) Merge(stored *store.Domain) (d store.Domain, warnings []string, err error) {
	d = store.Domain{Name: r.Name, UseCase: store.UseCaseAD, PasswordSync: store.PasswordSyncCapture}
	d.JumpCloud.URL = DefaultJumpCloudURL
	if stored != nil {
		d = *stored
	}
	if err := r.complete(stored); err != nil {
		return d, nil, err
	}
	r.apply(&d)
	use := identity.UseCase(d.UseCase)
	switch {
	case !use.Imports() && !use.Syncs():
		return d, nil, fmt.Errorf("--use-case %q: want %s, %s or %s", d.UseCase, store.UseCaseAD, store.UseCaseTwoWay, store.UseCaseJumpCloud)
	case use.Syncs() && d.SyncAccount == "":
		return d, nil, fmt.Errorf("--use-case %s writes to Active Directory: --sync-account and --sync-password-file are required, of an account "+
			"that has the rights delegated on the root container; what it lacks is told, with the commands that grant it", d.UseCase)
	}
	if d.PasswordSync != store.PasswordSyncCapture && d.PasswordSync != store.PasswordSyncValidateOnly {
		return d, nil, fmt.Errorf("--password-sync %q: want %s or %s", d.PasswordSync, store.PasswordSyncCapture, store.PasswordSyncValidateOnly)
	}
	switch {
	case !d.Discover && len(d.DCs) == 0:
		return d, nil, errors.New("--discover=false leaves no domain controller: --dc is required")
	case !d.Discover && d.Site != "":
		return d, nil, fmt.Errorf("--site %s is for --discover; give both, or --site ''", d.Site)
	}
	if stored != nil {
		warnings = append(widened(*stored, d), r.entrusted(*stored, d)...)
	}
	return d, warnings, nil
}

// complete finds what is missing. A stored secret belongs to the account or
// the service that it was given for, and is not tried on another.
func (r *RegisterRequest) complete(stored *store.Domain) error {
	var lacks []string
	lack := func(missing bool, flag string) {
		if missing {
			lacks = append(lacks, flag)
		}
	}
	lack(stored == nil && len(r.DCs) == 0 && (r.Discover == nil || !*r.Discover), "--dc or --discover")
	lack(stored == nil && r.ImportAccount == nil, "--import-account")
	lack(stored == nil && r.ImportPassword == nil, "--import-password-file")
	lack(stored == nil && r.JumpCloudAPIKey == nil && !r.noKey, "--api-key-file")
	if len(lacks) > 0 {
		verb := "is"
		if len(lacks) > 1 {
			verb = "are"
		}
		return fmt.Errorf("domain %s is not registered yet: %s %s required", r.Name, strings.Join(lacks, ", "), verb)
	}
	if stored != nil && differs(r.ImportAccount, stored.ImportAccount) && r.ImportPassword == nil {
		return fmt.Errorf("--import-account %s is not the registered one: --import-password-file is required", *r.ImportAccount)
	}
	switch given := r.SyncAccount != nil; {
	case given && *r.SyncAccount == "":
		return errors.New("--sync-account is empty; to write to Active Directory no more, change the use case to ad")
	case given && (stored == nil || *r.SyncAccount != stored.SyncAccount) && r.SyncPassword == nil:
		return fmt.Errorf("--sync-account %s is not registered yet: --sync-password-file is required", *r.SyncAccount)
	case r.SyncPassword != nil && !given && (stored == nil || stored.SyncAccount == ""):
		return errors.New("--sync-password-file: there is no sync account yet: --sync-account is required")
	}
	if stored != nil && differs(r.JumpCloudURL, stored.JumpCloud.URL) && r.JumpCloudAPIKey == nil && !r.noKey {
		return fmt.Errorf("--jumpcloud-url %s is not the registered one: --api-key-file is required", *r.JumpCloudURL)
	}
	for flag, given := range map[string]*string{"--import-account": r.ImportAccount, "--jumpcloud-url": r.JumpCloudURL} {
		if given != nil && *given == "" {
			return fmt.Errorf("%s is empty", flag)
		}
	}
	return nil
}

func differs(given *string, stored string) bool { return given != nil && *given != stored }

func (r *RegisterRequest) apply(d *store.Domain) {
	if len(r.DCs) > 0 {
		d.DCs = slices.Clone(r.DCs)
	}
	if r.Discover != nil {
		d.Discover = *r.Discover
	}
	for field, given := range map[*string]*string{
		&d.Site: r.Site, &d.UseCase: r.UseCase, &d.RootDN: r.RootDN, &d.ScopeGroup: r.ScopeGroup, &d.PasswordSync: r.PasswordSync,
		&d.ImportAccount: r.ImportAccount, &d.SyncAccount: r.SyncAccount, &d.JumpCloud.URL: r.JumpCloudURL, &d.JumpCloud.LDAPURL: r.JumpCloudLDAP, &d.JumpCloud.OrgID: r.JumpCloudOrgID,
	} {
		if given != nil {
			*field = *given
		}
	}
	for field, given := range map[*[]byte]*string{&d.CAPEM: r.CAPEM, &d.JumpCloud.CAPEM: r.JumpCloudCAPEM} {
		if given != nil {
			*field = []byte(*given)
		}
	}
}

// widened says what concerns people who were not asked: passwords of more of
// them travel, or another side has the last word.
func widened(stored, d store.Domain) (warnings []string) {
	if stored.ScopeGroup != "" && d.ScopeGroup == "" {
		warnings = append(warnings, fmt.Sprintf("without the scope group %s, everyone in the root container is replicated, passwords too", stored.ScopeGroup))
	}
	if stored.ScopeGroup != "" && d.ScopeGroup != "" && !strings.EqualFold(stored.ScopeGroup, d.ScopeGroup) {
		warnings = append(warnings, fmt.Sprintf("the scope group changes from %s to %s, whose members are replicated, passwords too, and who is not among them is dissociated", stored.ScopeGroup, d.ScopeGroup))
	}
	if stored.RootDN != "" && d.RootDN != "" && !below(d.RootDN, stored.RootDN) {
		warnings = append(warnings, fmt.Sprintf("the root container %s is not below %s: users of other containers are replicated", d.RootDN, stored.RootDN))
	}
	if stored.RootDN != "" && d.RootDN == "" && !strings.EqualFold(stored.RootDN, stored.BaseDN) {
		warnings = append(warnings, fmt.Sprintf("without the root container %s, users of the whole domain are replicated", stored.RootDN))
	}
	if stored.UseCase != d.UseCase {
		warnings = append(warnings, fmt.Sprintf("the use case changes from %s to %s, also in JumpCloud", stored.UseCase, d.UseCase))
	}
	if stored.PasswordSync == store.PasswordSyncValidateOnly && d.PasswordSync == store.PasswordSyncCapture {
		warnings = append(warnings, "with --password-sync capture, the passwords that people set are captured and replicated")
	}
	return warnings
}

// below says whether dn is base or in it. A DN that is written otherwise than
// the stored one, with a space or an escape, counts as another.
func below(dn, base string) bool {
	dn, base = strings.ToLower(dn), strings.ToLower(base)
	return dn == base || strings.HasSuffix(dn, ","+base) && !strings.HasSuffix(dn, `\,`+base)
}

// entrusted says to whom stored passwords of service accounts would be given
// that they were not given for.
func (r *RegisterRequest) entrusted(stored, d store.Domain) (warnings []string) {
	what, instead := "import password", "--import-password-file"
	switch syncs := r.SyncPassword == nil && stored.SyncAccount != ""; {
	case syncs && r.ImportPassword == nil:
		what, instead = "passwords of both service accounts", "--import-password-file and --sync-password-file"
	case syncs:
		what, instead = "sync password", "--sync-password-file"
	case r.ImportPassword != nil:
		return nil
	}
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf("the stored "+what+" will be sent to "+format+" (or give "+instead+")", args...))
	}
	var known []string
	for _, address := range stored.DCs {
		known = append(known, host(address))
	}
	for _, address := range d.DCs {
		if !slices.Contains(known, host(address)) {
			warn("another controller, %s", address)
		}
	}
	if d.Discover && !stored.Discover {
		warn("the controllers that DNS names for %s", d.Name)
	}
	if !bytes.Equal(stored.CAPEM, d.CAPEM) {
		warn("controllers that other CAs vouch for")
	}
	return warnings
}

// host is the name in a controller's address; one that is no URL is itself.
func host(address string) string {
	if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
		return strings.ToLower(u.Hostname())
	}
	return address
}

// Register checks a domain on both sides and stores it. A secret that is not
// given is the stored one.
func (l *Local) Register(ctx context.Context, req RegisterRequest) (RegisterAnswer, error) {
	defer req.Wipe()
	stored, err := l.registered(req.Name)
	if err != nil {
		return RegisterAnswer{}, err
	}
	req.noKey = l.ServiceAccount
	d, warnings, err := req.Merge(stored)
	if err != nil {
		return RegisterAnswer{}, err
	}
	if len(warnings) > 0 && !req.Confirmed {
		return RegisterAnswer{}, fmt.Errorf("%s; repeat with --yes if that is meant", strings.Join(warnings, ", and "))
	}
	// JumpCloud's use case may differ from the stored one: given explicitly, it
	// wins.
	return l.register(ctx, d, given{req.ImportPassword, req.SyncPassword, req.JumpCloudAPIKey}, req.Confirmed && req.UseCase != nil)
}

// given are the secrets of a request; what is nil is the stored one.
type given struct{ importPassword, syncPassword, apiKey []byte }

// register checks d on both sides and stores it.
func (l *Local) register(ctx context.Context, d store.Domain, secrets given, changeUseCase bool) (RegisterAnswer, error) {
	password, err := l.secret(d.Name, store.CredImportPassword, secrets.importPassword)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer password.Wipe()
	key, err := l.apiKey(d.Name, secrets.apiKey)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer key.Wipe()
	peers, err := l.Connect(d, password, key)
	if err != nil {
		return RegisterAnswer{}, err
	}
	defer peers.AD.Close()
	reg := replicate.Registration{Domain: d, ChangeUseCase: changeUseCase, Credentials: map[string]secret.Bytes{store.CredImportPassword: password}}
	if !key.IsEmpty() {
		reg.Credentials[store.CredAPIKey] = key
	}
	if identity.UseCase(d.UseCase).Syncs() || secrets.syncPassword != nil {
		sync, err := l.secret(d.Name, store.CredSyncPassword, secrets.syncPassword)
		if err != nil {
			return RegisterAnswer{}, err
		}
		defer sync.Wipe()
		if reg.Sync, err = l.writer(d, sync); err != nil {
			return RegisterAnswer{}, err
		}
		defer reg.Sync.Close()
		reg.Credentials[store.CredSyncPassword] = sync
	}
	d, checks, err := replicate.Register(ctx, l.Store, reg, peers, l.Now())
	if err != nil {
		return RegisterAnswer{Checks: checks}, err
	}
	l.changed(d.Name)
	return RegisterAnswer{Domain: d, Checks: checks}, nil
}

// changed tells that a domain's registration changed.
func (l *Local) changed(domain string) {
	if l.Changed != nil {
		l.Changed(domain)
	}
}

// writer works under the sync account of a domain, for one operation.
func (l *Local) writer(d store.Domain, syncPassword secret.Bytes) (*ad.Writer, error) {
	if l.Writer == nil {
		return nil, errors.New("the sync account cannot be checked from here")
	}
	return l.Writer(d, syncPassword)
}

// apiKey is the one that was given, or the stored one; empty where a service
// account is used instead.
func (l *Local) apiKey(domain string, given []byte) (secret.Bytes, error) {
	key, err := l.secret(domain, store.CredAPIKey, given)
	if errors.Is(err, store.ErrNotFound) && l.ServiceAccount {
		err = nil
	}
	return key, err
}

// secret is the one that was given, or the stored one.
func (l *Local) secret(domain, name string, given []byte) (secret.Bytes, error) {
	if given != nil {
		return secret.New(given), nil
	}
	b, err := l.Store.Credential(domain, name, l.Opener)
	if err != nil {
		return b, fmt.Errorf("%w; give it anew", err)
	}
	return b, nil
}

// registered is the stored registration of that name, or nil.
func (l *Local) registered(name string) (*store.Domain, error) {
	all, err := l.Store.Domains()
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		if strings.EqualFold(d.Name, name) {
			return &d, nil
		}
	}
	return nil, nil
}
