// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	identityToken = "canary-identity-3c90"
	registryToken = "canary-registry-a41e"
)

// withBasic asks for user and password.
func withBasic(w http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == registryUser && password == registryPassword {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// withTokens asks for a bearer token, which a service on the same host gives for
// user and password, or for an identity token.
func withTokens(w http.ResponseWriter, r *http.Request) bool {
	const given = "given-by-the-service"
	switch authorization := r.Header.Get("Authorization"); {
	case r.URL.Path == "/token":
		if !knowsClient(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": given, "access_token": given, "expires_in": 60})
		return true
	case authorization == "Bearer "+given, authorization == "Bearer "+registryToken:
		return false
	default:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope="repository:app:pull"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// knowsClient is true for a request of the service's, by basic authentication or
// by OAuth 2, with the right secret.
func knowsClient(r *http.Request) bool {
	if r.FormValue("grant_type") == "refresh_token" {
		return r.FormValue("refresh_token") == identityToken
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		user, password = r.FormValue("username"), r.FormValue("password")
	}
	return user == registryUser && password == registryPassword
}

// pulls tries credentials on a registry with one image.
type pulls map[string]struct {
	auth func(host string) *cri.AuthConfig
	code codes.Code
}

func (n *node) pullsAs(k keeper, all pulls) {
	g := n.gallery()
	ref := g.tag(g.image("app", smallFiles(n, "app")), "1")
	g.kept(n, k)
	for name, test := range all {
		n.sub(name, func(n *node) {
			_, err := n.pull(ref, test.auth(g.host))
			n.wantCode("PullImage", err, test.code)
			if err != nil {
				n.Log(err)
				for _, secret := range []string{registryPassword, identityToken, registryToken} {
					if strings.Contains(err.Error(), secret) {
						n.Errorf("the error tells a secret: %v", err)
					}
				}
			}
			n.must("RemoveImage", n.removeImage(ref))
		})
	}
}

// static are credentials whatever the registry's address.
func static(a *cri.AuthConfig) func(string) *cri.AuthConfig {
	return func(string) *cri.AuthConfig { return a }
}

// credentials: all forms of user and password serve, and only where they should.
func (n *node) credentials() {
	plain := []byte(registryUser + ":" + registryPassword)
	at := func(address string) func(host string) *cri.AuthConfig {
		return func(host string) *cri.AuthConfig {
			return &cri.AuthConfig{
				Username: registryUser, Password: registryPassword, ServerAddress: strings.ReplaceAll(address, "HOST", host),
			}
		}
	}
	n.pullsAs(withBasic, pulls{
		"none":                      {static(nil), codes.Unauthenticated},
		"empty":                     {static(&cri.AuthConfig{}), codes.Unauthenticated},
		"user and password":         {at(""), codes.OK},
		"of this host":              {at("HOST"), codes.OK},
		"of this URL":               {at("http://HOST/v1/"), codes.OK},
		"of another host":           {at("elsewhere.example"), codes.Unauthenticated},
		"wrong password":            {static(&cri.AuthConfig{Username: registryUser, Password: "guessed"}), codes.Unauthenticated},
		"auth":                      {static(&cri.AuthConfig{Auth: base64.StdEncoding.EncodeToString(plain)}), codes.OK},
		"auth without padding":      {static(&cri.AuthConfig{Auth: base64.RawStdEncoding.EncodeToString(plain)}), codes.OK},
		"auth in URLs' alphabet":    {static(&cri.AuthConfig{Auth: base64.RawURLEncoding.EncodeToString(plain)}), codes.OK},
		"auth that is none":         {static(&cri.AuthConfig{Auth: registryPassword}), codes.InvalidArgument},
		"auth without a user":       {static(&cri.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte(":" + registryPassword))}), codes.InvalidArgument},
		"auth without a colon":      {static(&cri.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte(registryPassword))}), codes.InvalidArgument},
		"auth of another":           {static(&cri.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte("another:" + registryPassword))}), codes.Unauthenticated},
		"auth beside user, address": {func(host string) *cri.AuthConfig { a := at("HOST")(host); a.Auth = "ignored"; return a }, codes.OK},
	})
}

// tokens: a service in between changes nothing for user and password, and takes
// identity tokens; a registry token needs no service.
func (n *node) tokens() {
	n.pullsAs(withTokens, pulls{
		"none":                 {static(nil), codes.Unauthenticated},
		"user and password":    {static(&cri.AuthConfig{Username: registryUser, Password: registryPassword}), codes.OK},
		"auth":                 {static(&cri.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + registryPassword))}), codes.OK},
		"wrong password":       {static(&cri.AuthConfig{Username: registryUser, Password: "guessed"}), codes.Unauthenticated},
		"identity token":       {static(&cri.AuthConfig{IdentityToken: identityToken}), codes.OK},
		"wrong identity token": {static(&cri.AuthConfig{IdentityToken: "guessed"}), codes.Unauthenticated},
		"registry token":       {static(&cri.AuthConfig{RegistryToken: registryToken}), codes.OK},
		"wrong registry token": {static(&cri.AuthConfig{RegistryToken: "guessed"}), codes.Unauthenticated},
		"registry token of another": {
			static(&cri.AuthConfig{RegistryToken: registryToken, ServerAddress: "elsewhere.example"}), codes.Unauthenticated,
		},
	})
}

// TestEmptyCredentials: with a registry that asks for none, none are needed, and
// useless ones do no harm.
func TestEmptyCredentials(t *testing.T) {
	n := newNode(t)
	n.pullsAs(func(_ http.ResponseWriter, r *http.Request) bool {
		if a := r.Header.Get("Authorization"); a != "" {
			n.Errorf("%s was sent unasked", a)
		}
		return false
	}, pulls{
		"none":            {static(nil), codes.OK},
		"empty":           {static(&cri.AuthConfig{}), codes.OK},
		"only an address": {static(&cri.AuthConfig{ServerAddress: "elsewhere.example"}), codes.OK},
		"unneeded":        {static(&cri.AuthConfig{Username: registryUser, Password: registryPassword}), codes.OK},
	})
}
