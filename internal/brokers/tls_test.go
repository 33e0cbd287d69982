package brokers_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"

	"kemi.dev/kemi/internal/brokers"
)

// pool trusts an authority.
func pool(t *testing.T, ca *brokers.CA) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		t.Fatal("the authority's certificate cannot be read")
	}
	return p
}

func pair(t *testing.T, ca *brokers.CA, c brokers.Cert) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(ca.Issue(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// handshake is what a client says of a server with the certificate at 127.0.0.1.
func handshake(t *testing.T, ca *brokers.CA, c brokers.Cert) error {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair(t, ca, c)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.(*tls.Conn).Handshake() // The client says how it went.
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool(t, ca), ServerName: "127.0.0.1"}).HandshakeContext(t.Context())
}
