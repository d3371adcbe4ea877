// go-oidc as its documentation shows it, told what to do as node/openid-client.mjs is.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"strings"

	"github.com/coreos/go-oidc"
	"golang.org/x/oauth2"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func random() string {
	bytes := make([]byte, 32)
	_, err := rand.Read(bytes)
	check(err)
	return base64.RawURLEncoding.EncodeToString(bytes)
}

func say(document map[string]interface{}) {
	line, err := json.Marshal(document)
	check(err)
	fmt.Println(string(line))
}

func main() {
	ctx := context.Background()
	provider, err := oidc.NewProvider(ctx, os.Getenv("ISSUER"))
	check(err)
	config := oauth2.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		Endpoint:     provider.Endpoint(),
		RedirectURL:  os.Getenv("REDIRECT_URI"),
		Scopes:       []string{oidc.ScopeOpenID, "profile", "email"},
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: config.ClientID})
	state, nonce, secret := random(), random(), random()
	challenge := sha256.Sum256([]byte(secret))
	say(map[string]interface{}{"go": config.AuthCodeURL(state, oidc.Nonce(nonce),
		oauth2.SetAuthURLParam("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:])),
		oauth2.SetAuthURLParam("code_challenge_method", "S256"))})

	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	check(err)
	back, err := url.Parse(strings.TrimSpace(line))
	check(err)
	if back.Query().Get("state") != state {
		log.Fatal("the state is another's")
	}
	tokens, err := config.Exchange(ctx, back.Query().Get("code"), oauth2.SetAuthURLParam("code_verifier", secret))
	check(err)
	idToken, err := verifier.Verify(ctx, tokens.Extra("id_token").(string))
	check(err)
	check(idToken.VerifyAccessToken(tokens.AccessToken))
	if idToken.Nonce != nonce {
		log.Fatal("the nonce is another's")
	}
	told, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	check(err)
	var userinfo map[string]interface{}
	check(told.Claims(&userinfo))

	// A token source asks for new ones when the access token is over: here it has none.
	refreshed, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
	check(err)
	newer := refreshed.Extra("id_token").(string)
	again, err := verifier.Verify(ctx, newer)
	check(err)
	var metadata struct {
		EndSession string `json:"end_session_endpoint"`
	}
	check(provider.Claims(&metadata))
	leave := url.Values{"id_token_hint": {newer}, "post_logout_redirect_uri": {os.Getenv("AFTER")}}
	say(map[string]interface{}{
		"sub":      idToken.Subject,
		"again":    again.Subject,
		"userinfo": userinfo,
		"leave":    metadata.EndSession + "?" + leave.Encode(),
	})
}
