import java.io.*;
import java.nio.file.*;
import java.security.cert.*;
import java.time.Instant;
import java.util.*;

/** Many paths at many moments, by Java's PKIX with CRLs alone. usage: CheckLife FILE; a line: name moment leaf,issuing,... root crl,crl... */
class CheckLife {
    public static void main(String[] args) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] said = line.split(" ");
            System.out.println(said[0] + " " + check(factory, said));
        }
    }

    private static String check(CertificateFactory factory, String[] said) throws Exception {
        List<X509Certificate> chain = new ArrayList<>();
        for (String name : said[2].split(",")) chain.add(read(factory, name));
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(read(factory, said[3]), null)));
        parameters.setDate(Date.from(Instant.parse(said[1])));
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK, PKIXRevocationChecker.Option.PREFER_CRLS));
        List<CRL> crls = new ArrayList<>();
        for (String name : said[4].split(","))
            try (InputStream in = Files.newInputStream(Path.of(name))) { crls.add(factory.generateCRL(in)); }
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(factory.generateCertPath(chain), parameters);
            return "good";
        } catch (CertPathValidatorException error) {
            return error.getCause() instanceof CertificateRevokedException ? "revoked" : "refused " + error.getReason() + " " + error.getMessage();
        }
    }

    private static X509Certificate read(CertificateFactory factory, String name) throws Exception {
        try (InputStream in = Files.newInputStream(Path.of(name))) { return (X509Certificate) factory.generateCertificate(in); }
    }
}
