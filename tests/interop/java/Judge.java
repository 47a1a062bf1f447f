import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSVerifier;
import com.nimbusds.jose.crypto.ECDSAVerifier;
import com.nimbusds.jose.crypto.Ed25519Verifier;
import com.nimbusds.jose.crypto.RSASSAVerifier;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.JWKMatcher;
import com.nimbusds.jose.jwk.JWKSelector;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.SignedJWT;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What Nimbus, with all its checks, says to each line of a file of cases: `accept`, or `refuse` and why.
 *
 * <p>The parts of its DefaultJWTProcessor one by one, for that knows no Ed25519.
 */
class Judge {
  /** What every token has to have (RFC 9068 section 2.2, and ours). */
  static final Set<String> REQUIRED =
      Set.of(
          "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "ver", "scope", "tenant", "env");

  static final Set<JWSAlgorithm> ALGORITHMS =
      Set.of(JWSAlgorithm.ES256, JWSAlgorithm.EdDSA, JWSAlgorithm.RS256);

  public static void main(String[] arguments) throws Exception {
    Map<String, JWKSet> keySets = new HashMap<>();
    StringBuilder answers = new StringBuilder();
    for (String line : Files.readAllLines(Path.of(arguments[0]))) {
      Map<String, Object> test = JSONObjectUtils.parse(line);
      String jwks = JSONObjectUtils.getString(test, "jwks");
      try {
        if (!keySets.containsKey(jwks)) {
          keySets.put(jwks, JWKSet.parse(jwks));
        }
        verify(test, keySets.get(jwks));
        answers.append("accept\n");
      } catch (Exception refusal) {
        String why = String.valueOf(refusal.getMessage()).replaceAll("\\s+", " ");
        answers.append("refuse ").append(refusal.getClass().getSimpleName()).append(' ');
        answers.append(why, 0, Math.min(why.length(), 100)).append('\n');
      }
    }
    System.out.print(answers);
  }

  static void verify(Map<String, Object> test, JWKSet keys) throws Exception {
    SignedJWT token = SignedJWT.parse(JSONObjectUtils.getString(test, "token"));
    var header = token.getHeader();
    new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt")).verify(header.getType(), null);
    if (!ALGORITHMS.contains(header.getAlgorithm()) || header.getKeyID() == null) {
      throw new SecurityException("algorithm or kid");
    }
    List<JWK> selected = new JWKSelector(JWKMatcher.forJWSHeader(header)).select(keys);
    if (selected.isEmpty() || !token.verify(verifier(selected.get(0)))) {
      throw new SecurityException("signature");
    }

    Date now = new Date(1000 * JSONObjectUtils.getLong(test, "now"));
    var issuer = new JWTClaimsSet.Builder().issuer(JSONObjectUtils.getString(test, "iss")).build();
    String audience = JSONObjectUtils.getString(test, "aud");
    var claims =
        new DefaultJWTClaimsVerifier<>(audience, issuer, REQUIRED) {
          @Override
          protected Date currentTime() {
            return now;
          }
        };
    claims.setMaxClockSkew(JSONObjectUtils.getInt(test, "leeway"));
    claims.verify(token.getJWTClaimsSet(), null);
  }

  static JWSVerifier verifier(JWK key) throws Exception {
    return switch (key.getKeyType().getValue()) {
      case "EC" -> new ECDSAVerifier(key.toECKey());
      case "OKP" -> new Ed25519Verifier(key.toOctetKeyPair());
      case "RSA" -> new RSASSAVerifier(key.toRSAKey());
      default -> throw new SecurityException("key type");
    };
  }
}
