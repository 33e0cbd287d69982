package ack

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kemi.dev/kemi/alerting/link"
)

// ReadKey reads the key of the links from a file: base64 of 32 bytes or more. With create it is made when it is not
// there, for this user's eyes only.
func ReadKey(file string, create bool) (link.Key, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && create {
		if text, err = makeKey(file); err != nil {
			return link.Key{}, fmt.Errorf("make the key of links: %w", err)
		}
	}
	if err != nil {
		return link.Key{}, fmt.Errorf("read the key of links: %w: make one with: head -c 32 /dev/urandom | base64 > %s", err, file)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return link.Key{}, fmt.Errorf("read the key of links from %s: it is no base64: make one with: head -c 32 /dev/urandom | base64", file)
	}
	key, err := link.NewKey(secret)
	if err != nil {
		return link.Key{}, fmt.Errorf("read the key of links from %s: %w", file, err)
	}
	return key, nil
}

// makeKey writes a new key, whole or not at all.
func makeKey(file string) ([]byte, error) {
	secret := make([]byte, link.KeySize)
	_, _ = rand.Read(secret) // It never fails: see crypto/rand.
	text := []byte(base64.StdEncoding.EncodeToString(secret) + "\n")
	f, err := os.CreateTemp(filepath.Dir(file), ".link.key-*") // Readable by this user alone.
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return text, nil
}
