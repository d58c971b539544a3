package jcsim

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dirgate/dirgate/certs"
	"github.com/dirgate/dirgate/store/secret"
)

// Config describes a Server. The zero value is usable.
type Config struct {
	Addr     string           // of the REST face; empty: 127.0.0.1 and a free port
	LDAPAddr string           // of the LDAPS face; empty: 127.0.0.1 and a free port
	TLS      *tls.Config      // for both; nil: a private CA is made, see CACert
	APIKey   secret.Bytes     // empty: generated
	OrgID    string           // 24 hex digits; empty: generated
	Log      *slog.Logger     // nil: silent
	Now      func() time.Time // nil: time.Now
	Policy   PasswordPolicy
	// NewUserState is the state of users made without one: ACTIVATED or STAGED;
	// empty: ACTIVATED.
	NewUserState string
	// TokenLife is how long bearer tokens are good; zero: an hour.
	TokenLife time.Duration
}

// Server is a running simulator, safe for concurrent use.
type Server struct {
	log    *slog.Logger
	now    func() time.Time
	apiKey secret.Bytes
	orgID  string
	caCert []byte

	clientID     string // of the service account
	clientSecret secret.Bytes
	tokenLife    time.Duration

	listener net.Listener
	http     *http.Server
	ldap     *front
	closing  chan struct{} // closed when Close begins
	once     sync.Once
	closeErr error
	wg       sync.WaitGroup

	mu          sync.Mutex // guards what follows
	lastID      uint64
	policy      PasswordPolicy
	users       []*user // ascending by id
	byID        map[string]*user
	byName      map[string]*user // usernames in lower case
	byEmail     map[string]*user // addresses in lower case
	elsewhere   map[string]bool  // addresses that other organisations have, in lower case
	newState    string
	restricted  RestrictedWrites
	directories []*directory
	groups      []*group // ascending by id
	faults      []*Fault
	tokens      map[string]time.Time // when each ends
	counts      map[string]int
	writes      []Write
	insights    insights
}

// Start runs a Server until Close.
func Start(cfg Config) (*Server, error) {
	s := &Server{log: cfg.Log, now: cfg.Now, orgID: cfg.OrgID, policy: cfg.Policy, closing: make(chan struct{}),
		newState: cmp.Or(cfg.NewUserState, activated), tokenLife: cmp.Or(cfg.TokenLife, time.Hour),
		byID: make(map[string]*user), byName: make(map[string]*user), byEmail: make(map[string]*user),
		elsewhere: make(map[string]bool), tokens: make(map[string]time.Time), counts: make(map[string]int)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.orgID == "" {
		s.orgID = s.newID()
	}
	s.apiKey = cfg.APIKey.Clone()
	if s.apiKey.IsEmpty() {
		s.apiKey = secret.Take([]byte(randomHex(20)))
	}
	s.clientID, s.clientSecret = randomHex(12), secret.Take([]byte(randomHex(20)))
	conf, err := s.tlsConfig(cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("start jumpcloud simulator: %w", err)
	}
	if s.ldap, err = s.startLDAP(orLoopback(cfg.LDAPAddr), conf); err != nil {
		return nil, fmt.Errorf("start jumpcloud simulator: ldap: %w", err)
	}
	if err := s.startREST(orLoopback(cfg.Addr), conf); err != nil {
		return nil, errors.Join(fmt.Errorf("start jumpcloud simulator: rest: %w", err), s.ldap.close())
	}
	return s, nil
}

func orLoopback(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

func (s *Server) tlsConfig(given *tls.Config) (*tls.Config, error) {
	if given != nil {
		return given.Clone(), nil
	}
	ca, err := certs.NewCA("JumpCloud simulator CA")
	if err != nil {
		return nil, err
	}
	pair, err := ca.Issue("localhost", "127.0.0.1", "::1")
	if err != nil {
		return nil, err
	}
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	s.caCert = ca.CertPEM
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

func (s *Server) startREST(addr string, conf *tls.Config) (err error) {
	if s.listener, err = net.Listen("tcp", addr); err != nil {
		return err
	}
	s.http = &http.Server{
		Handler: s.handler(), TLSConfig: conf.Clone(), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.wg.Go(func() {
		if err := s.http.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("jumpcloud simulator: REST face ended", "err", err)
		}
	})
	return nil
}

// Close stops both faces at once, whatever clients do, and waits until nothing
// of the server runs any more. It may be called more than once.
func (s *Server) Close() error {
	s.once.Do(func() {
		close(s.closing)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// Answers being written may finish; then the connections are cut.
		if err := s.http.Shutdown(ctx); err != nil {
			s.closeErr = s.http.Close()
		}
		s.closeErr = errors.Join(s.closeErr, s.ldap.close())
		s.wg.Wait()
	})
	return s.closeErr
}

// URL is the base of the REST face, as JumpCloud's console has it: without /api.
func (s *Server) URL() string { return "https://" + s.listener.Addr().String() }

// LDAPURL is the LDAPS face.
func (s *Server) LDAPURL() string { return "ldaps://" + s.ldap.listener.Addr().String() }

// APIKey is the key that x-api-key must hold.
func (s *Server) APIKey() secret.Bytes { return s.apiKey }

// OrgID is the organisation's id.
func (s *Server) OrgID() string { return s.orgID }

// CACert is the PEM certificate of the CA made by Start; empty if Config.TLS
// was given.
func (s *Server) CACert() []byte { return s.caCert }

// BaseDN is where the organisation's LDAP users are.
func (s *Server) BaseDN() string { return "ou=Users,o=" + s.orgID + ",dc=jumpcloud,dc=com" }

// UserDN is a user's name in LDAP.
func (s *Server) UserDN(username string) string {
	return "uid=" + escapeDN(username) + "," + s.BaseDN()
}

// newID makes an id like MongoDB's: 24 hex digits that ascend. Callers hold
// mu, or are alone.
func (s *Server) newID() string {
	var id [12]byte
	s.lastID++
	binary.BigEndian.PutUint32(id[:], uint32(s.now().Unix()))
	binary.BigEndian.PutUint64(id[4:], s.lastID)
	return hex.EncodeToString(id[:])
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// stamp writes a time as JumpCloud does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// escapeDN escapes an attribute value for a DN (RFC 4514 2.4). Usernames have
// few characters that need it.
func escapeDN(value string) string {
	return strings.NewReplacer(`\`, `\\`, `,`, `\,`, `+`, `\+`, `"`, `\"`, `<`, `\<`, `>`, `\>`, `;`, `\;`, `=`, `\=`).Replace(value)
}
