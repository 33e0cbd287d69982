package conf

import (
	"errors"
	"fmt"
	"reflect"
)

// secret decodes a secret given in the file itself. Messages never show it.
func (d *decoder) secret(n Node, v reflect.Value) {
	if n.Kind() != Scalar {
		d.wrong(n, "text", textAdvice(n))
		return
	}
	v.Set(reflect.ValueOf(NewSecret(n.v.text)))
}

// secretTrouble says why a secret file could not be read and what helps.
func secretTrouble(err error) (what, do string) {
	if errors.Is(err, errEmptySecret) {
		return errEmptySecret.Error(), "write the secret into it"
	}
	if errors.Is(err, errHugeSecret) {
		return errHugeSecret.Error(), "name a file that holds nothing but the secret"
	}
	return fileTrouble(err)
}

// secretFile reads the secret that the key x_file names the file of.
func (d *decoder) secretFile(n, key, val Node, f field, v reflect.Value) {
	if inline := n.Get(f.fromOf); !inline.IsZero() {
		d.complain(key, fmt.Sprintf("%q and %q are both given, the other on line %d", f.key, f.fromOf, inline.Line()), "keep one of the two")
		return
	}
	if val.v.bad {
		return
	}
	if val.Kind() != Scalar || val.Text() == "" {
		d.wrong(val, "the path of a file", "write the path of a file that holds nothing but the secret")
		return
	}
	path := Pos{File: n.File()}.Path(val.Text())
	s, err := SecretFile(path)
	if err != nil {
		what, do := secretTrouble(err)
		d.complain(val, fmt.Sprintf("the secret file %s: %s", path, what), do)
		return
	}
	v.Set(reflect.ValueOf(s))
}
