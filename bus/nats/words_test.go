package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// reached is what opening a driver says.
func reached(t testing.TB, c Config) (*Driver, error) {
	t.Helper()
	d, err := New(c, "", obs.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, d.Open(t.Context())
}

// secured is a server with TLS.
func secured(t testing.TB, ca *brokers.CA, c brokers.Cert, verify, first bool) string {
	t.Helper()
	cert, key := ca.Issue(t, c)
	config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: cert, KeyFile: key, CaFile: ca.File, Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	s := served(t, &server.Options{JetStream: true, TLS: true, TLSVerify: verify, TLSConfig: config, TLSTimeout: 5, TLSHandshakeFirst: first})
	return fmt.Sprint("tls://127.0.0.1:", s.Addr().(*net.TCPAddr).Port)
}

func TestWhyACertificateIsNotAcceptedIsSaid(t *testing.T) {
	t.Parallel()
	ca, stranger := brokers.NewCA(t), brokers.NewCA(t)
	cert, key := ca.Issue(t, brokers.Cert{Name: "kemi"})
	strangeCert, strangeKey := stranger.Issue(t, brokers.Cert{Name: "kemi"})
	good := secured(t, ca, brokers.Cert{Name: "nats"}, false, false)
	old := secured(t, ca, brokers.Cert{Name: "nats", NotAfter: time.Now().Add(-time.Hour)}, false, false)
	other := secured(t, ca, brokers.Cert{Name: "nats", Hosts: []string{"nats.example", "10.1.2.3"}}, false, false)
	strict := secured(t, ca, brokers.Cert{Name: "nats"}, true, false)
	first := secured(t, ca, brokers.Cert{Name: "nats"}, false, true)
	plain := served(t, &server.Options{JetStream: true}).ClientURL()
	trust := &TLS{Client: certs.Client{CAFile: ca.File}}
	for _, c := range []struct {
		name string
		url  string
		tls  *TLS
		want string
	}{
		{"all is well", good, trust, ""},
		{"a client's certificate", strict, &TLS{Client: certs.Client{CAFile: ca.File, CertFile: cert, KeyFile: key}}, ""},
		{"the name is given", other, &TLS{Client: certs.Client{CAFile: ca.File, ServerName: "nats.example"}}, ""},
		{"TLS from the start", first, &TLS{Client: certs.Client{CAFile: ca.File}, HandshakeFirst: true}, ""},
		{"the scheme is nats", strings.Replace(good, "tls:", "nats:", 1), trust, ""},
		{"unknown authority", good, nil, "signed by an authority that this machine does not know: give its certificate as tls: {ca_file: …}"},
		{"another authority", good, &TLS{Client: certs.Client{CAFile: stranger.File}}, "signed by none of the authorities in ca_file"},
		{"expired", old, trust, "the server's certificate is valid from 20"},
		{"another host", other, trust, "the server's certificate is for nats.example, 10.1.2.3 and not for 127.0.0.1: use one of these names in urls, or set tls: {server_name: …}"},
		{"no client's certificate", strict, trust, "the server wants a client's certificate (certificate required): give tls: {cert_file: …, key_file: …}"},
		{"a strange client's certificate", strict, &TLS{Client: certs.Client{CAFile: ca.File, CertFile: strangeCert, KeyFile: strangeKey}}, "the server does not accept the client's certificate"},
		{"no TLS there", plain, &TLS{}, "the server offers no TLS"},
		{"TLS from the start, not here", first, trust, "tls: {handshake_first: true}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := reached(t, Config{URLs: []string{c.url}, TLS: c.tls})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wants(t, err, c.url, c.want)
			// One that waits for another way to begin and says nothing looks like one that is away.
			if got := errors.Is(err, driver.ErrAway); got && c.url != first {
				t.Errorf("what is refused is not away: %v", err)
			}
		})
	}
}

func TestWhyAUserIsNotAcceptedIsSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed, public, _ := identity(t)
	write(t, dir, "user.nk", seed)
	strangeSeed, strangePublic, _ := identity(t)
	write(t, dir, "strange.nk", strangeSeed)

	// A server that trusts an operator, with one account.
	operator, account, system := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(publicOf(t, account))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1}
	bare := pair(t, nkeys.CreateAccount)
	resolver := &server.MemAccResolver{}
	for _, a := range []*jwt.AccountClaims{claims, jwt.NewAccountClaims(publicOf(t, bare)), jwt.NewAccountClaims(publicOf(t, system))} {
		token, err := a.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := resolver.Store(a.Subject, token); err != nil {
			t.Fatal(err)
		}
	}
	trusting := served(t, &server.Options{JetStream: true, TrustedKeys: []string{publicOf(t, operator)}, AccountResolver: resolver, SystemAccount: publicOf(t, system)}).ClientURL()
	write(t, dir, "user.creds", credentials(t, account, public, seed, time.Time{}))
	write(t, dir, "bare.creds", credentials(t, bare, public, seed, time.Time{}))
	write(t, dir, "strange.creds", credentials(t, pair(t, nkeys.CreateAccount), strangePublic, strangeSeed, time.Time{}))
	short := write(t, dir, "short.creds", credentials(t, account, public, seed, time.Now().Add(time.Hour)))

	users := served(t, &server.Options{JetStream: true, Users: []*server.User{{Username: "kemi", Password: "right"}}, Nkeys: []*server.NkeyUser{{Nkey: public}}}).ClientURL()
	token := served(t, &server.Options{JetStream: true, Authorization: "right"}).ClientURL()
	full := served(t, &server.Options{JetStream: true, MaxConn: 1}).ClientURL()
	if _, err := reached(t, Config{URLs: []string{full}}); err != nil {
		t.Fatal(err)
	}
	at := conf.Pos{File: filepath.Join(dir, "kemi.yaml")}
	secret := conf.NewSecret
	for _, c := range []struct {
		name   string
		config Config
		want   string
	}{
		{"password", Config{URLs: []string{users}, User: "kemi", Password: secret("right")}, ""},
		{"in the address", Config{URLs: []string{strings.Replace(users, "//", "//kemi:right@", 1)}}, ""},
		{"token", Config{URLs: []string{token}, Token: secret("right")}, ""},
		{"nkey", Config{At: at, URLs: []string{users}, NkeyFile: "user.nk"}, ""},
		{"credentials", Config{At: at, URLs: []string{trusting}, CredsFile: "user.creds"}, ""},
		{"wrong password", Config{URLs: []string{users}, User: "kemi", Password: secret("wr0ng")}, "the server refuses the user or its password: check user and password"},
		{"wrong in the address", Config{URLs: []string{strings.Replace(users, "//", "//kemi:wr0ng@", 1)}}, "the server refuses who is named in the address"},
		{"wrong token", Config{URLs: []string{token}, Token: secret("wr0ng")}, "the server refuses the token"},
		{"unknown nkey", Config{At: at, URLs: []string{users}, NkeyFile: "strange.nk"}, "the server refuses the nkey of nkey_file"},
		{"nkeys are not known", Config{At: at, URLs: []string{token}, NkeyFile: "user.nk"}, "the server knows no nkeys"},
		{"unknown account", Config{At: at, URLs: []string{trusting}, CredsFile: "strange.creds"}, "the server refuses the credentials of creds_file"},
		{"account without JetStream", Config{At: at, URLs: []string{trusting}, CredsFile: "bare.creds"}, "the account of this user has no JetStream: allow it there"},
		{"nobody", Config{URLs: []string{users}}, "the server wants to know who we are: give user and password, token, creds_file or nkey_file"},
		{"full", Config{URLs: []string{full}}, "the server has as many connections as it may"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := reached(t, c.config)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Ensure(t.Context(), []driver.Topic{topicThings}); err != nil {
					t.Fatal(err)
				}
				return
			}
			wants(t, err, c.want)
			if strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}

	// Credentials that were good, and no longer are: it stays connected to the end, then says why, and takes up new ones.
	d, err := reached(t, Config{At: at, URLs: []string{trusting}, CredsFile: "short.creds"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short, credentials(t, account, strangePublic, strangeSeed, time.Unix(1e9, 0)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.links[process].nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	await(t, "the refusal", func() bool {
		err := d.Health()
		return err != nil && strings.Contains(err.Error(), "not connected since") && strings.Contains(err.Error(), "credentials")
	})
	if err := os.WriteFile(short, credentials(t, account, public, seed, time.Time{}), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "health", func() bool { return d.Health() == nil })
}

func pair(t testing.TB, make func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	p, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func publicOf(t testing.TB, p nkeys.KeyPair) string {
	t.Helper()
	public, err := p.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// Of several addresses each is named with what is wrong with it; one that works is enough.
func TestEachAddressIsNamed(t *testing.T) {
	t.Parallel()
	mute := listening(t, "")
	web := listening(t, "SSH-2.0-OpenSSH_9.2\r\n")
	hangs := listening(t, "\x00")
	_, err := reached(t, Config{URLs: []string{"nats://127.0.0.1:1", "nats://u:swordfish@" + web, "nats://no-such-host.invalid:4222"}})
	wants(
		t, err, "connect to nats at nats://127.0.0.1:1: the connection is refused: nothing listens at 127.0.0.1:1",
		"connect to nats at nats://…@"+web+": what answers at "+web+" does not speak as expected",
		"connect to nats at nats://no-such-host.invalid:4222: the name no-such-host.invalid is not known",
	)
	if strings.Contains(err.Error(), "swordfish") {
		t.Errorf("a secret is shown: %v", err)
	}
	_, err = reached(t, Config{URLs: []string{"nats://" + hangs}})
	wants(t, err, "the server at "+hangs+" ended the connection without a word")
	_, err = reached(t, Config{URLs: []string{"nats://" + mute, "nats://127.0.0.1:1"}})
	wants(t, err, "no answer from "+mute+" in time", "nothing listens at 127.0.0.1:1")
	s := served(t, &server.Options{JetStream: true})
	if _, err := reached(t, Config{URLs: []string{"nats://127.0.0.1:1", s.ClientURL()}}); err != nil {
		t.Fatal(err)
	}
}

// listening greets whoever connects: with nothing it waits, with a NUL it hangs up.
func listening(t testing.TB, greeting string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
			if greeting == "\x00" {
				c.Close()
			} else if _, err := c.Write([]byte(greeting)); err != nil {
				c.Close()
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range open {
			c.Close()
		}
	})
	return l.Addr().String()
}

func TestServersAreJudgedByTheirVersion(t *testing.T) {
	for version, want := range map[string]string{
		"2.9.10": "refused", "2.10.0": "fences batches", "2.11.4": "batches", "2.12.0": "", "2.15.2-beta.1": "", "v3.0.0": "", "1.4.1": "refused",
		"x": "not understood", "2.x.1": "not understood", "": "not understood", "2.-1": "not understood",
	} {
		_, lacks, err := judge(version)
		got := []string{}
		for _, s := range lacks {
			switch {
			case strings.Contains(s, headerExpectedSubject) && strings.Contains(s, "there from 2.11 on"):
				got = append(got, "fences")
			case strings.Contains(s, "atomic batches (there from 2.12 on)"):
				got = append(got, "batches")
			default:
				t.Errorf("%s: %s", version, s)
			}
		}
		switch {
		case want == "refused":
			wants(t, err, version, "metadata of streams and consumers with several filters", "from 2.10 on", "please upgrade")
		case want == "not understood":
			wants(t, err, want)
		case err != nil || strings.Join(got, " ") != want:
			t.Errorf("%s: got %q, %v; want %q", version, got, err, want)
		}
	}
}

// What JetStream says is explained where that helps, and the error stays what it was.
func TestWhatJetStreamSaysIsExplained(t *testing.T) {
	d := &Driver{config: Config{Replicas: 3}}
	for code, want := range map[jetstream.ErrorCode]string{
		10005: "not enough servers with JetStream and room for 3 replicas", 10074: "the server stands alone and cannot keep 3 replicas",
		10008: "the cluster has no leader now", 10023: "raise the limits of JetStream", 10027: "allow the account more streams", 10122: "the account limits the size of a stream", 1: "",
	} {
		raw := &jetstream.APIError{Code: 500, ErrorCode: code, Description: "what it says"}
		err := d.put(fmt.Errorf("create: %w", raw))
		var api *jetstream.APIError
		if !errors.As(err, &api) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: got %v, want %s", code, err, want)
		}
	}
	s := served(t, &server.Options{JetStream: true})
	alone, err := reached(t, Config{URLs: []string{s.ClientURL()}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	wants(t, alone.Ensure(t.Context(), []driver.Topic{topicThings}), "set replicas: 1")
}

func TestIntegrationAnOldServerIsNamed(t *testing.T) {
	if testing.Short() {
		t.Skip("real servers are not for -short")
	}
	t.Parallel()
	_, err := reached(t, Config{URLs: brokers.OldNATS(t).URLs})
	wants(t, err, "server version 2.9.", "is too old", "metadata of streams and consumers with several filters", "from 2.10 on")
}

// Credentials that ended while Kemi ran are refused like those of a stranger: their file says more.
func TestCredentialsThatEndedMeanwhileAreSaidToHave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed, public, _ := identity(t)
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "old.creds", credentials(t, account, public, seed, time.Now().Add(-time.Hour)))
	write(t, dir, "good.creds", credentials(t, account, public, seed, time.Time{}))
	old, good := Config{CredsFile: filepath.Join(dir, "old.creds")}, Config{CredsFile: filepath.Join(dir, "good.creds")}
	wants(t, old.why("nats://a", nats.ErrAuthorization), "old.creds: the credentials expired at 20", "make it with nsc")
	wants(t, good.why("nats://a", nats.ErrAuthorization), "the user or its account is not known there")
}

// What subscriptions complain of while the connection is lost is not why it is lost.
func TestALostConnectionIsNotExplainedBySubscriptions(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	d, err := New(Config{URLs: []string{"nats://127.0.0.1:1"}}, "", obs.New(slog.New(slog.NewTextHandler(&said, nil)), nil))
	if err != nil {
		t.Fatal(err)
	}
	l := newLink()
	var o nats.Options
	for _, set := range d.options(l) {
		if err := set(&o); err != nil {
			t.Fatal(err)
		}
	}
	o.DisconnectedErrCB(nil, nil)
	o.AsyncErrorCB(nil, &nats.Subscription{}, nats.ErrConsumerNotActive)
	if l.reason != nil || said.Len() > 0 {
		t.Errorf("the reason is %v; it says %s", l.reason, said.String())
	}
	o.AsyncErrorCB(nil, nil, nats.ErrAuthorization)
	if l.reason == nil || !strings.Contains(said.String(), "wants to know who we are") {
		t.Errorf("the reason is %v; it says %s", l.reason, said.String())
	}
}
