package replicate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/dirgate/dirgate/replicate/ad"
	"github.com/dirgate/dirgate/replicate/jumpcloud"
	"github.com/dirgate/dirgate/replicate/plan"
	"github.com/dirgate/dirgate/store/identity"
)

func (r *registration) checkAD(ctx context.Context) error {
	found, err := r.peers.AD.Domain(ctx)
	if err != nil {
		return fmt.Errorf("check domain controller: %w", advise(err, "import"))
	}
	if !strings.EqualFold(found.DNSName, r.domain.Name) {
		return fmt.Errorf("check domain controller: it serves %s, not %s; check DOMAIN and --dc", found.DNSName, r.domain.Name)
	}
	r.domain.Name, r.domain.BaseDN, r.domain.NetBIOS = found.DNSName, found.BaseDN, found.NetBIOS
	r.passed("domain controller", "%s serves %s (%s), the certificate is trusted, %s can bind", found.DCName, found.DNSName, found.NetBIOS, r.domain.ImportAccount)
	if r.domain.RootDN == "" {
		r.domain.RootDN = found.BaseDN
	}
	if r.domain.RootDN, _, err = r.peers.AD.Exists(ctx, r.domain.RootDN, "(objectClass=*)"); err != nil {
		return fmt.Errorf("check root container: %w", missing(err, "--root-dn"))
	}
	r.passed("root container", "%s", r.domain.RootDN)
	if r.domain.ScopeGroup == "" {
		r.domain.ScopeGroupGUID = identity.GUID{}
		r.passed("scope group", "none: every user below the root container is in scope")
		return nil
	}
	if err := r.findScopeGroup(ctx); err != nil {
		return fmt.Errorf("check scope group: %w", missing(err, "--scope-group"))
	}
	r.passed("scope group", "%s", r.domain.ScopeGroup)
	return nil
}

// checkDeleted says how deletions are learnt of. It refuses nothing.
func (r *registration) checkDeleted(ctx context.Context) error {
	sees, err := r.peers.AD.SeesDeleted(ctx, r.domain.BaseDN)
	switch {
	case err != nil:
		return fmt.Errorf("check deleted objects: %w", advise(err, "import"))
	case sees:
		r.passed("deleted objects", "%s may read them: the domain controller tells of deletions", r.domain.ImportAccount)
	default:
		grant := ad.ShowDeleted(r.domain.BaseDN, r.domain.ImportAccount)
		r.passed("deleted objects", "%s may not read them: deletions are found by listing the domain when something was written, for at most 1/20 of the time; to be told of them, an administrator of a Windows domain runs `%s` and then `%s` (samba-tool has no command for that container)",
			r.domain.ImportAccount, grant[0], grant[1])
	}
	return nil
}

// findScopeGroup finds the group by the name given, or, when that is the one
// that is registered already, the registered group under its present name.
func (r *registration) findScopeGroup(ctx context.Context) (err error) {
	name, want := r.domain.ScopeGroup, "(objectClass=group)"
	r.domain.ScopeGroup, r.domain.ScopeGroupGUID, err = r.peers.AD.Exists(ctx, name, want)
	if errors.Is(err, ad.ErrNotFound) && strings.EqualFold(name, r.old.ScopeGroup) && !r.old.ScopeGroupGUID.IsZero() {
		r.domain.ScopeGroup, r.domain.ScopeGroupGUID, err = r.peers.AD.Exists(ctx, "<GUID="+r.old.ScopeGroupGUID.String()+">", want)
	}
	return err
}

// advise says what to look at when a controller cannot be used by the import
// or the sync account.
func advise(err error, account string) error {
	var name x509.HostnameError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ad.ErrAccountRefused):
		return fmt.Errorf("%w; check --%s-account and --%s-password-file", err, account, account)
	case errors.As(err, &name):
		return fmt.Errorf("%w; give --dc a name that is in the controller's certificate", err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w; check that --ca-file has the CA that signed the controllers' certificates", err)
	case errors.Is(err, ad.ErrUnavailable):
		return fmt.Errorf("%w; check --dc or --discover, DNS, and that the LDAPS port is open from here", err)
	}
	return err
}

func missing(err error, flag string) error {
	if errors.Is(err, ad.ErrNotFound) {
		return fmt.Errorf("%w; check %s, and that the import account may read it", err, flag)
	}
	return err
}

// checkSync binds as the sync account and asks AD for its rights on the root
// container: those that every sync takes, and those for the attributes that the
// domain's translation rules write.
func (r *registration) checkSync(ctx context.Context) error {
	if r.sync == nil {
		if identity.UseCase(r.domain.UseCase).Syncs() {
			return fmt.Errorf("check sync account: use case %s writes to Active Directory, and the domain has no sync account; give --sync-account and --sync-password-file", r.domain.UseCase)
		}
		return nil
	}
	attributes, err := r.exported(ctx)
	if err != nil {
		return err
	}
	states, err := r.sync.Rights(ctx, attributes...)
	if err != nil {
		return fmt.Errorf("check sync account: %w", advise(err, "sync"))
	}
	var lacking, open []string
	held := 0
	for _, s := range states {
		switch {
		case s.Held:
			held++
		case s.Known:
			lacking = append(lacking, s.Right.String())
			r.failed("sync account", "lacks %q; an administrator of the domain grants it by %s", s.Right, grantedBy(s.Grant))
		default:
			open = append(open, fmt.Sprintf("%q (%s)", s.Right, s.Why))
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("check sync account: %s lacks %d of %d rights on %s: %s; grant them with the commands above and repeat",
			r.domain.SyncAccount, len(lacking), len(states), r.domain.RootDN, strings.Join(lacking, ", "))
	}
	text := fmt.Sprintf("%s can bind, and has %d of %d rights on %s", r.domain.SyncAccount, held, len(states), r.domain.RootDN)
	if len(open) > 0 {
		text += "; not known yet: " + strings.Join(open, ", ")
	}
	r.passed("sync account", "%s", text)
	return nil
}

// exported are the attributes of users that translation rules write, beside
// those that every sync does.
func (r *registration) exported(ctx context.Context) ([]string, error) {
	if r.object == nil {
		return nil, nil
	}
	rules, err := r.peers.JumpCloud.TranslationRules(ctx, r.object.ID)
	if jumpcloud.NotFound(err) {
		return nil, nil // JumpCloud has no rules for AD
	}
	if err != nil {
		return nil, fmt.Errorf("read the translation rules of JumpCloud AD object %s: %w", r.object.ID, err)
	}
	return plan.NewRules(rules).Written(), nil
}

// grantedBy shows the commands that delegate a right.
func grantedBy(g ad.Grant) string {
	if g.Samba == "" {
		return "`" + g.Windows + "`"
	}
	return "`" + g.Windows + "` (Samba: `" + g.Samba + "`)"
}
