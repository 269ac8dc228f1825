import java.io.*;
import java.net.URI;
import java.nio.file.*;
import java.security.cert.*;
import java.util.*;

/** Paths, one after the other, through Java's PKIX, revocation by one mechanism only. usage: CheckPath ocsp|ocsp=URL|crl leaf,leaf... issuing,above... root crl... */
class CheckPath {
    public static void main(String[] args) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (String leaf : args[1].split(",")) {
            System.out.println("== " + leaf);
            check(factory, args, leaf);
        }
    }

    private static void check(CertificateFactory factory, String[] args, String leaf) throws Exception {
        List<X509Certificate> chain = new ArrayList<>();
        Set<String> names = new LinkedHashSet<>(List.of(leaf));
        names.addAll(List.of(args[2].split(",")));
        for (String name : names) chain.add(read(factory, name));
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(read(factory, args[3]), null)));
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        Set<PKIXRevocationChecker.Option> options = EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK);
        if (args[0].equals("crl")) {
            options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
            List<CRL> crls = new ArrayList<>();
            for (int i = 4; i < args.length; i++)
                try (InputStream in = Files.newInputStream(Path.of(args[i]))) { crls.add(factory.generateCRL(in)); }
            parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
        } else if (args[0].startsWith("ocsp=")) {
            checker.setOcspResponder(URI.create(args[0].substring(5)));
        } else {
            options.add(PKIXRevocationChecker.Option.ONLY_END_ENTITY); // no certificate names the root tier's responder
        }
        checker.setOptions(options);
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(factory.generateCertPath(chain), parameters);
            System.out.println("PATH VALID");
        } catch (CertPathValidatorException error) {
            Throwable cause = error.getCause();
            System.out.println("PATH INVALID " + error.getReason() + " " + error.getMessage());
            if (cause instanceof CertificateRevokedException revoked)
                System.out.println("REVOKED " + revoked.getRevocationReason() + " " + revoked.getRevocationDate().toInstant());
        }
    }

    private static X509Certificate read(CertificateFactory factory, String name) throws Exception {
        try (InputStream in = Files.newInputStream(Path.of(name))) { return (X509Certificate) factory.generateCertificate(in); }
    }
}
