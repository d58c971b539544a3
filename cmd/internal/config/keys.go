package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is all there is to know about one key of the file.
type key struct {
	name string // dotted
	doc  string // one or more lines for the example
	want string // completes "want ..."
	get  func(*Config) string
	set  func(*Config, string) error // an error's text follows the value
	path func(*Config) *string       // of a key that is a file or folder
	list bool                        // a list: its text is the items, with commas between
}

// section returns the part of the name before the last dot, "" at top level.
func (k key) section() string {
	return k.name[:max(0, strings.LastIndexByte(k.name, '.'))]
}

// isSection says whether keys lie in a section of that name, at any depth.
func isSection(name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(k.name, name+".") })
}

// keys is the file format, in the order of the example.
var keys = []key{
	filePath("data_dir", "Folder of the store. Only the daemon's user needs to reach it.",
		func(c *Config) *string { return &c.DataDir }),
	filePath("master_key_file", "Key that seals the secrets in the store; mode 0600. Without it they are lost:\nkeep a copy apart from the backups of the store.",
		func(c *Config) *string { return &c.MasterKeyFile }),
	text("dns_server", "DNS server that knows the domains registered with --discover; empty: the system's.",
		`an address such as "192.0.2.1:53", or ""`, func(c *Config) *string { return &c.DNSServer },
		func(s string) error {
			if s == "" {
				return nil
			}
			return checkAddress(s)
		}),

	filePath("tls.cert_file", "Certificate chain of the listeners, PEM, leaf first. Read again when it changes.",
		func(c *Config) *string { return &c.TLS.CertFile }),
	filePath("tls.key_file", "Its private key, PEM; mode 0600.",
		func(c *Config) *string { return &c.TLS.KeyFile }),
	oneOf("tls.min_version", "Oldest TLS version a client may use.",
		func(c *Config) *string { return &c.TLS.MinVersion }, "1.2", "1.3"),

	optionalPath("tls.client_ca_file", "CA of client certificates, PEM. Whoever shows one may use the whole delegate API\nwithout a token; empty: nobody.",
		func(c *Config) *string { return &c.TLS.ClientCAFile }),

	address("gateway.ldaps", "Address for LDAP over TLS. Applications use it as their LDAP server.",
		func(c *Config) *string { return &c.Gateway.LDAPS }),
	optionalAddress("gateway.ldap", "Address for LDAP that begins in clear and becomes TLS with StartTLS; empty: none.\nBefore StartTLS only the root DSE can be read.",
		func(c *Config) *string { return &c.Gateway.LDAP }),
	boolean("gateway.allow_plaintext_bind", "Let clients of gateway.ldap bind without StartTLS. Everybody on the way can read\ntheir passwords then. Passwords cannot be changed without TLS even so.",
		func(c *Config) *bool { return &c.Gateway.AllowPlaintextBind }),
	size("gateway.max_message", "Largest LDAP message a client may send once it has bound.",
		func(c *Config) *Size { return &c.Gateway.MaxMessage }, 64*KiB, 256*MiB),
	duration("gateway.idle_timeout", "A session that is silent for this long is ended.",
		func(c *Config) *Duration { return &c.Gateway.IdleTimeout }, time.Second, 7*24*time.Hour),
	integer("gateway.max_connections", "Client connections at a time; more are closed at once. Each needs two open files:\nwhere the limit of these is too low for them, the log says how many are let in.",
		func(c *Config) *int { return &c.Gateway.MaxConnections }, 1, 1_000_000),
	integer("gateway.max_connections_per_ip", "The same for one client address; 0: half of max_connections.",
		func(c *Config) *int { return &c.Gateway.MaxConnectionsPerIP }, 0, 1_000_000),
	boolean("gateway.translate_password_modify", "Make writes of userPassword and Password Modify (RFC 3062) the change or reset of\nunicodePwd that Active Directory wants. Without it both are refused.",
		func(c *Config) *bool { return &c.Gateway.TranslatePasswords }),
	boolean("gateway.lockout_guard", "Answer repetitions of a refused password without the domain controller, and hold new\nones back when another failure could lock the account. The last accepted one passes.",
		func(c *Config) *bool { return &c.Gateway.LockoutGuard }),
	boolean("gateway.reconnect", "Move a session to another domain controller when its own is lost. The password it was\nbound with is kept in memory for that. Without it such a session is ended.",
		func(c *Config) *bool { return &c.Gateway.Reconnect }),
	oneOf("gateway.sasl", "What becomes of SASL binds. Relayed, such a session is not validated, cannot set\npasswords where they are captured, and in a security layer nothing is seen.\nController policies that demand channel binding refuse relayed binds.",
		func(c *Config) *string { return &c.Gateway.SASL }, "refuse", "relay"),
	prefixes("gateway.proxy_protocol.trusted", "Load balancers that name the client in a PROXY protocol v2 header. From these\naddresses every connection must begin with one; from others none may.",
		func(c *Config) *Prefixes { return &c.Gateway.ProxyTrusted }),

	optionalAddress("delegate.listen", "Address of the validation API and the user portal, HTTPS; empty: none.",
		func(c *Config) *string { return &c.Delegate.Listen }),
	oneOf("delegate.policy_preflight", "What is done about a new password that JumpCloud's policy would refuse: nothing,\ntell the user, or refuse it before Active Directory has it.",
		func(c *Config) *string { return &c.Delegate.Preflight }, "off", "warn", "enforce"),
	boolean("delegate.tell_unknown_users", "Tell callers of the API whether a name or a password was wrong. Whoever may call it\ncan then find out which names exist.",
		func(c *Config) *bool { return &c.Delegate.TellUnknownUsers }),
	integer("delegate.refusals_per_client", "Sign-ins of one client address that may be refused at once; one more every 600 ms.",
		func(c *Config) *int { return &c.Delegate.RefusalsPerClient }, 1, 1_000_000),
	integer("delegate.refusals_per_user", "The same for one account or name; one more every minute. Counted apart for each\nnetwork that its right password came from. The lockout guard counts beside it.",
		func(c *Config) *int { return &c.Delegate.RefusalsPerUser }, 1, 10_000),

	address("metrics.listen", "Address for /metrics, /healthz and /readyz: HTTP without TLS, so keep it local.",
		func(c *Config) *string { return &c.Metrics.Listen }),

	filePath("admin.socket", "Unix socket by which the command line reaches the daemon.",
		func(c *Config) *string { return &c.Admin.Socket }),

	text("jumpcloud.client_id", "Client id of a JumpCloud service account. It is used for all registered domains\ninstead of their API keys; empty: the keys are used.",
		`text without spaces, or ""`, func(c *Config) *string { return &c.JumpCloud.ClientID },
		func(s string) error {
			if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return errors.New("has a space or a character that no id has")
			}
			return nil
		}),
	optionalPath("jumpcloud.client_secret_file", "File with the service account's secret; mode 0600. A new secret is used after\na restart, or when a registration changes.",
		func(c *Config) *string { return &c.JumpCloud.ClientSecretFile }),
	text("jumpcloud.token_url", "Where the service account gets its tokens; empty: JumpCloud's US region.",
		`an https URL, or ""`, func(c *Config) *string { return &c.JumpCloud.TokenURL }, checkOptionalURL),
	text("jumpcloud.insights_url", "Where Directory Insights tells what was changed in JumpCloud, such as\nhttps://api.jumpcloud.com/insights/directory/v1; empty: that of the region of the\ndomain's console. Without it, or where the organisation does not have it,\neverything is listed again and again.",
		`an https URL, or ""`, func(c *Config) *string { return &c.JumpCloud.InsightsURL }, checkOptionalURL),
	number("jumpcloud.requests_per_second", "Requests to JumpCloud's API per second, per registered domain.",
		func(c *Config) *float64 { return &c.JumpCloud.RequestsPerSecond }, 0.1, 1000),
	integer("jumpcloud.max_in_flight", "Requests to JumpCloud's API at a time, per registered domain.",
		func(c *Config) *int { return &c.JumpCloud.MaxInFlight }, 1, 100),

	integer("replicate.workers", "Accounts replicated at a time.",
		func(c *Config) *int { return &c.Replicate.Workers }, 1, 256),
	duration("replicate.import_interval", "How often Active Directory is asked for changes that it did not tell of, and\neverything is planned anew for what comes with time, such as an account's end.",
		func(c *Config) *Duration { return &c.Replicate.ImportInterval }, time.Second, 24*time.Hour),
	boolean("replicate.change_notification", "Ask Active Directory to tell of changes as they are made. Without it they are found\nby asking, every import_interval.",
		func(c *Config) *bool { return &c.Replicate.ChangeNotification }),
	duration("replicate.sync_interval", "How often JumpCloud is looked at for changes, in domains whose use case has them\ngo to Active Directory. Where Directory Insights tells of them it is asked every\nsecond, or as often as this if that is more often.",
		func(c *Config) *Duration { return &c.Replicate.SyncInterval }, time.Second, time.Hour),
	duration("replicate.full_every", "How often both sides are read and compared completely.",
		func(c *Config) *Duration { return &c.Replicate.FullEvery }, time.Minute, 30*24*time.Hour),

	guardCount("guards.removals", "Users that may be deleted or unbound within an hour. When more would be, all that\ntakes something from people is held until `dirgate guard approve`.",
		func(c *Config) *Guard { return &c.Guards.Removals }),
	guardPercent("guards.removals", func(c *Config) *Guard { return &c.Guards.Removals }),
	guardCount("guards.suspensions", "The same for users suspended, and passwords expired.",
		func(c *Config) *Guard { return &c.Guards.Suspensions }),
	guardPercent("guards.suspensions", func(c *Config) *Guard { return &c.Guards.Suspensions }),
	guardCount("guards.groups", "The same for groups deleted or unbound.",
		func(c *Config) *Guard { return &c.Guards.Groups }),
	guardPercent("guards.groups", func(c *Config) *Guard { return &c.Guards.Groups }),
	guardCount("guards.memberships", "The same for members taken out of groups.",
		func(c *Config) *Guard { return &c.Guards.Memberships }),
	guardPercent("guards.memberships", func(c *Config) *Guard { return &c.Guards.Memberships }),
	guardCount("guards.ad_disables", "The same for accounts that sync disables in Active Directory, or lets go\n(unbound at JumpCloud).",
		func(c *Config) *Guard { return &c.Guards.ADDisables }),
	guardPercent("guards.ad_disables", func(c *Config) *Guard { return &c.Guards.ADDisables }),
	guardCount("guards.ad_memberships", "The same for members that sync takes out of groups in Active Directory.",
		func(c *Config) *Guard { return &c.Guards.ADMemberships }),
	guardPercent("guards.ad_memberships", func(c *Config) *Guard { return &c.Guards.ADMemberships }),

	duration("changelog.retention", "How long the records of a change are kept after it ended. A dead letter that\nnobody retried for so long is discarded, with its password.",
		func(c *Config) *Duration { return &c.Changelog.Retention }, 24*time.Hour, 10*365*24*time.Hour),

	oneOf("log.level", "Least severe message to log.",
		func(c *Config) *string { return &c.Log.Level }, "debug", "info", "warn", "error"),
	oneOf("log.format", "Form of the log on standard error.",
		func(c *Config) *string { return &c.Log.Format }, "text", "json"),
}

func text(name, doc, want string, field func(*Config) *string, check func(string) error) key {
	return key{
		name: name, doc: doc, want: want,
		get: func(c *Config) string { return *field(c) },
		set: func(c *Config, s string) error {
			if err := check(s); err != nil {
				return err
			}
			*field(c) = s
			return nil
		},
	}
}

func checkOptionalURL(s string) error {
	if u, err := url.Parse(s); s != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return errors.New("is not an https URL")
	}
	return nil
}

func filePath(name, doc string, field func(*Config) *string) key {
	k := text(name, doc, "the path of a file or folder", field, func(s string) error {
		if s == "" {
			return errors.New("is empty")
		}
		return nil
	})
	k.path = field
	return k
}

func optionalPath(name, doc string, field func(*Config) *string) key {
	k := text(name, doc, `the path of a file, or ""`, field, func(string) error { return nil })
	k.path = field
	return k
}

func oneOf(name, doc string, field func(*Config) *string, values ...string) key {
	last := len(values) - 1
	want := strings.Join(values[:last], ", ") + " or " + values[last]
	return text(name, doc, want, field, func(s string) error {
		if !slices.Contains(values, s) {
			return errors.New("is not one of its values")
		}
		return nil
	})
}

func address(name, doc string, field func(*Config) *string) key {
	return text(name, doc, `an address such as ":636" or "127.0.0.1:636"`, field, checkAddress)
}

func optionalAddress(name, doc string, field func(*Config) *string) key {
	return text(name, doc, `an address such as ":389" or "127.0.0.1:389", or ""`, field, func(s string) error {
		if s == "" {
			return nil
		}
		return checkAddress(s)
	})
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("is not an address and a port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("has no port from 0 to 65535")
	}
	return nil
}

func boolean(name, doc string, field func(*Config) *bool) key {
	return key{
		name: name, doc: doc, want: "true or false",
		get: func(c *Config) string { return strconv.FormatBool(*field(c)) },
		set: func(c *Config, s string) error {
			if s != "true" && s != "false" {
				return errors.New("is neither")
			}
			*field(c) = s == "true"
			return nil
		},
	}
}

func prefixes(name, doc string, field func(*Config) *Prefixes) key {
	return key{
		name: name, doc: doc, want: `a list of networks or addresses such as ["10.0.0.0/8", "192.0.2.1"]`, list: true,
		get: func(c *Config) string { return string(*field(c)) },
		set: func(c *Config, s string) error { return field(c).UnmarshalText([]byte(s)) },
	}
}

func size(name, doc string, field func(*Config) *Size, low, high Size) key {
	return key{
		name: name, doc: doc, want: fmt.Sprintf("a size from %v to %v, with its unit", low, high),
		get: func(c *Config) string { return field(c).String() },
		set: func(c *Config, s string) error {
			var v Size
			if v.UnmarshalText([]byte(s)) != nil {
				return errors.New("is not a whole number with the unit B, KiB, MiB or GiB")
			}
			return assign(field(c), v, low, high)
		},
	}
}

func duration(name, doc string, field func(*Config) *Duration, low, high time.Duration) key {
	return key{
		name: name, doc: doc,
		want: fmt.Sprintf("a duration from %v to %v, with its unit", Duration(low), Duration(high)),
		get:  func(c *Config) string { return field(c).String() },
		set: func(c *Config, s string) error {
			var v Duration
			if v.UnmarshalText([]byte(s)) != nil {
				return errors.New("is not a number with a unit, such as 90s, 15m or 1h30m")
			}
			return assign(field(c), v, Duration(low), Duration(high))
		},
	}
}

func integer(name, doc string, field func(*Config) *int, low, high int) key {
	return key{
		name: name, doc: doc, want: fmt.Sprintf("a whole number from %d to %d", low, high),
		get: func(c *Config) string { return strconv.Itoa(*field(c)) },
		set: func(c *Config, s string) error {
			v, err := strconv.Atoi(s)
			if err != nil {
				return errors.New("is not a whole number")
			}
			return assign(field(c), v, low, high)
		},
	}
}

func number(name, doc string, field func(*Config) *float64, low, high float64) key {
	format := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return key{
		name: name, doc: doc, want: fmt.Sprintf("a number from %s to %s", format(low), format(high)),
		get: func(c *Config) string { return format(*field(c)) },
		set: func(c *Config, s string) error {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return errors.New("is not a number")
			}
			return assign(field(c), v, low, high)
		},
	}
}

func guardCount(section, doc string, field func(*Config) *Guard) key {
	return integer(section+".count", doc, func(c *Config) *int { return &field(c).Count }, 0, 10_000_000)
}

func guardPercent(section string, field func(*Config) *Guard) key {
	return number(section+".percent", "The same as a share of all that are linked, in percent. Two always pass.",
		func(c *Config) *float64 { return &field(c).Percent }, 0, 100)
}

// assign refuses a value outside its bounds; NaN is outside all bounds.
func assign[T int | float64 | Size | Duration](field *T, v, low, high T) error {
	if !(v >= low && v <= high) {
		return errors.New("is out of bounds")
	}
	*field = v
	return nil
}

func checkServiceAccount(c JumpCloud) error {
	switch {
	case c.ClientID != "" && c.ClientSecretFile == "":
		return errors.New("needs jumpcloud.client_secret_file beside it")
	case c.ClientID == "" && (c.ClientSecretFile != "" || c.TokenURL != ""):
		return errors.New("is missing: jumpcloud.client_secret_file and jumpcloud.token_url are for a service account")
	}
	return nil
}

// maxSocketPath is what sun_path of unix(7) holds, less the final NUL.
const maxSocketPath = 107

func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("%q has %d bytes, and a unix socket's path at most %d: choose a shorter one", path, len(path), maxSocketPath)
	}
	return nil
}
