package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // Its own certificate.
}

func newAuthority(t *testing.T) *authority {
	a := &authority{dir: t.TempDir()}
	a.cert, a.key, a.file, _ = a.sign(t, "authority", nil)
	return a
}

// sign makes a certificate for hosts and returns the paths of it and its key.
func (a *authority) sign(t *testing.T, name string, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key, certFile, keyFile
}

// guarded is a broker with options of its own.
func guarded(t *testing.T, options ...kfake.Opt) string {
	t.Helper()
	c, err := kfake.NewCluster(append(options, kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// tried is what comes of connecting. This broker closes the connection of whom it refuses, which may have other reasons:
// that is told when the time is up.
func tried(t *testing.T, c Config, refused bool) error {
	t.Helper()
	d := dialled(t, c)
	patience := 20 * time.Second
	if refused {
		patience = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return d.Ensure(ctx, []driver.Topic{{Name: "t", Partitions: 1}})
}

func TestConnectionsAreEncryptedAndRefusalsAreSaidInWords(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	serve := func(change func(*x509.Certificate), clients bool) string {
		_, _, certFile, keyFile := a.sign(t, "server", change)
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		c := &tls.Config{Certificates: []tls.Certificate{pair}}
		if clients {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			c.ClientCAs.AddCert(a.cert)
		}
		return guarded(t, kfake.TLS(c))
	}
	_, _, certFile, keyFile := a.sign(t, "client", nil)
	_, _, strangeCert, strangeKey := other.sign(t, "stranger", nil)
	plain := serve(nil, false)
	strict := serve(nil, true)
	for name, c := range map[string]struct {
		broker string
		tls    *certs.Client
		want   string
	}{
		"good":                  {plain, &certs.Client{CAFile: a.file}, ""},
		"another name":          {serve(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"kafka.example.org"} }, false), &certs.Client{CAFile: a.file, ServerName: "kafka.example.org"}, ""},
		"for another host":      {serve(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"kafka.example.org"} }, false), &certs.Client{CAFile: a.file}, "for another host"},
		"expired":               {serve(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, false), &certs.Client{CAFile: a.file}, "has expired"},
		"unknown authority":     {plain, &certs.Client{CAFile: other.file}, "tls.ca_file"},
		"client certificate":    {strict, &certs.Client{CAFile: a.file, CertFile: certFile, KeyFile: keyFile}, ""},
		"no client certificate": {strict, &certs.Client{CAFile: a.file}, "tls.cert_file"},
		"a stranger's":          {strict, &certs.Client{CAFile: a.file, CertFile: strangeCert, KeyFile: strangeKey}, "tls.cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tried(t, Config{Brokers: []string{c.broker}, TLS: c.tls}, c.want != "")
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestWhoWeAreIsSaidAndRefusalsAreToldInWords(t *testing.T) {
	t.Parallel()
	broker := guarded(
		t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "plain", "secret"), kfake.Superuser("SCRAM-SHA-256", "small", "secret"), kfake.Superuser("SCRAM-SHA-512", "large", "secret"),
		kfake.User("PLAIN", "nobody", "secret", kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "unrelated", Operation: kmsg.ACLOperationAll, Allow: true}),
	)
	for name, c := range map[string]struct {
		sasl SASL
		want string
	}{
		"plain":             {SASL{Mechanism: "plain", User: "plain", Password: conf.NewSecret("secret")}, ""},
		"scram-sha-256":     {SASL{Mechanism: "scram-sha-256", User: "small", Password: conf.NewSecret("secret")}, ""},
		"scram-sha-512":     {SASL{Mechanism: "scram-sha-512", User: "large", Password: conf.NewSecret("secret")}, ""},
		"wrong password":    {SASL{Mechanism: "plain", User: "plain", Password: conf.NewSecret("mistaken")}, "the user or the password"},
		"wrong password, 2": {SASL{Mechanism: "scram-sha-256", User: "small", Password: conf.NewSecret("mistaken")}, "the user or the password"},
		"not allowed":       {SASL{Mechanism: "plain", User: "nobody", Password: conf.NewSecret("secret")}, "allow "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tried(t, Config{Brokers: []string{broker}, SASL: c.sasl}, c.want != "")
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "mistaken")):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestABrokerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	d := dialled(t, Config{Brokers: []string{address}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := d.Open(ctx); err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v", err)
	}
	if err := d.Health(); err == nil || !strings.Contains(err.Error(), "no broker answers since") {
		t.Errorf("health: %v", err)
	}
}
