package brokers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA signs certificates for a test.
type CA struct {
	// File holds its own certificate, PEM: what clients are told to trust.
	File string

	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	n    int64
}

// Cert says what a certificate is for.
type Cert struct {
	// Name is its common name.
	Name string
	// Hosts are names and addresses it is good for; nil is 127.0.0.1 and localhost.
	Hosts []string
	// NotAfter is when it ends; zero is in a day.
	NotAfter time.Time
}

// NewCA makes an authority that nobody trusts yet.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{dir: t.TempDir()}
	template := ca.template("Kemi's tests")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	ca.cert = template
	ca.File, _ = ca.write(t, template)
	return ca
}

func (ca *CA) template(name string) *x509.Certificate {
	ca.n++
	return &x509.Certificate{
		SerialNumber: big.NewInt(ca.n), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// Issue signs a certificate for servers and clients and returns the PEM files of it and of its key (PKCS 8).
func (ca *CA) Issue(t testing.TB, c Cert) (certFile, keyFile string) {
	t.Helper()
	template := ca.template(c.Name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if !c.NotAfter.IsZero() {
		template.NotAfter = c.NotAfter
	}
	if c.Hosts == nil {
		c.Hosts = []string{"127.0.0.1", "localhost"}
	}
	for _, h := range c.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return ca.write(t, template)
}

func (ca *CA) write(t testing.TB, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if ca.key == nil {
		ca.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(ca.dir, template.SerialNumber.String())
	for name, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(base+name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return base + ".crt", base + ".key"
}

// TLS says how a broker's client listener is secured.
type TLS struct {
	CA *CA
	// Cert of every node; a zero one is good for 127.0.0.1 and localhost.
	Cert Cert
	// Clients have to show a certificate of the CA.
	Clients bool
}
