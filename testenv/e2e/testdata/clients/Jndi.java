import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Hashtable;
import javax.naming.AuthenticationException;
import javax.naming.Context;
import javax.naming.NamingEnumeration;
import javax.naming.NamingException;
import javax.naming.directory.Attribute;
import javax.naming.directory.BasicAttribute;
import javax.naming.directory.DirContext;
import javax.naming.directory.ModificationItem;
import javax.naming.directory.SearchControls;
import javax.naming.directory.SearchResult;
import javax.naming.ldap.Control;
import javax.naming.ldap.ExtendedRequest;
import javax.naming.ldap.ExtendedResponse;
import javax.naming.ldap.InitialLdapContext;
import javax.naming.ldap.LdapContext;
import javax.naming.ldap.PagedResultsControl;
import javax.naming.ldap.PagedResultsResponseControl;
import javax.naming.ldap.StartTlsRequest;
import javax.naming.ldap.StartTlsResponse;

/**
 * What a Java application does: it signs in with JNDI, searches by pages and
 * changes its password in one of the ways it can, over LDAPS with JDK's
 * connection pool, or with StartTLS on a connection of its own.
 */
public class Jndi {
    static String url, base, name, from, to;

    public static void main(String[] args) throws Exception {
        url = args[0];
        base = args[1];
        name = args[2];
        from = args[3];
        to = args[4];
        String way = args[5];

        try {
            open(name, "Not-The-Password1").close();
            throw new IllegalStateException("a wrong password was accepted");
        } catch (AuthenticationException e) {
            if (!e.getMessage().contains("data 52e")) {
                throw new IllegalStateException("no sub-code: " + e.getMessage());
            }
        }
        // Each round takes the connection from the pool and gives it back.
        for (int i = 0; i < 5; i++) {
            open(name, from).close();
        }
        LdapContext ctx = open(name, from);
        String dn = find(ctx);
        String counts = pages(ctx);
        switch (way) {
            case "unicodePwd" -> unicodePwd(ctx, dn);
            case "extended" -> ctx.extendedOperation(new PasswordModify(dn, from, to));
            case "rebind" -> {
                // Another identity on the same context, and back.
                ctx.addToEnvironment(Context.SECURITY_PRINCIPAL, dn);
                ctx.reconnect(null);
                find(ctx);
                ctx.addToEnvironment(Context.SECURITY_CREDENTIALS, "Not-The-Password2");
                try {
                    ctx.reconnect(null);
                    throw new IllegalStateException("a wrong password was accepted");
                } catch (AuthenticationException e) {
                    ctx.addToEnvironment(Context.SECURITY_CREDENTIALS, from);
                    ctx.reconnect(null);
                }
                unicodePwd(ctx, dn);
            }
            default -> throw new IllegalArgumentException(way);
        }
        ctx.close();
        open(name, to).close();
        System.out.println(counts);
    }

    static LdapContext open(String principal, String password) throws Exception {
        Hashtable<String, Object> env = new Hashtable<>();
        env.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.ldap.LdapCtxFactory");
        env.put(Context.PROVIDER_URL, url);
        if (url.startsWith("ldaps:")) {
            env.put(Context.SECURITY_AUTHENTICATION, "simple");
            env.put(Context.SECURITY_PRINCIPAL, principal);
            env.put(Context.SECURITY_CREDENTIALS, password);
            env.put("com.sun.jndi.ldap.connect.pool", "true");
            return new InitialLdapContext(env, null);
        }
        LdapContext ctx = new InitialLdapContext(env, null);
        StartTlsResponse tls = (StartTlsResponse) ctx.extendedOperation(new StartTlsRequest());
        tls.negotiate();
        ctx.addToEnvironment(Context.SECURITY_AUTHENTICATION, "simple");
        ctx.addToEnvironment(Context.SECURITY_PRINCIPAL, principal);
        ctx.addToEnvironment(Context.SECURITY_CREDENTIALS, password);
        ctx.reconnect(null);
        return ctx;
    }

    static SearchControls subtree() {
        SearchControls controls = new SearchControls();
        controls.setSearchScope(SearchControls.SUBTREE_SCOPE);
        controls.setReturningAttributes(new String[] {"cn"});
        return controls;
    }

    static String find(LdapContext ctx) throws NamingException {
        NamingEnumeration<SearchResult> results =
                ctx.search("OU=People," + base, "(userPrincipalName={0})", new Object[] {name}, subtree());
        String dn = results.next().getNameInNamespace();
        if (results.hasMore()) {
            throw new IllegalStateException("two entries");
        }
        return dn;
    }

    static String pages(LdapContext ctx) throws Exception {
        int entries = 0;
        int pages = 0;
        byte[] cookie = null;
        do {
            ctx.setRequestControls(new Control[] {new PagedResultsControl(500, cookie, Control.CRITICAL)});
            NamingEnumeration<SearchResult> results =
                    ctx.search("CN=Schema,CN=Configuration," + base, "(objectClass=attributeSchema)", subtree());
            for (; results.hasMore(); results.next()) {
                entries++;
            }
            pages++;
            cookie = null;
            for (Control control : ctx.getResponseControls()) {
                if (control instanceof PagedResultsResponseControl page) {
                    cookie = page.getCookie();
                }
            }
        } while (cookie != null);
        ctx.setRequestControls(null);
        return "entries=" + entries + " pages=" + pages;
    }

    static void unicodePwd(DirContext ctx, String dn) throws NamingException {
        ctx.modifyAttributes(dn, new ModificationItem[] {
            new ModificationItem(DirContext.REMOVE_ATTRIBUTE, quoted(from)),
            new ModificationItem(DirContext.ADD_ATTRIBUTE, quoted(to)),
        });
    }

    static Attribute quoted(String password) {
        return new BasicAttribute("unicodePwd", ("\"" + password + "\"").getBytes(StandardCharsets.UTF_16LE));
    }

    /** RFC 3062, as Spring LDAP sends it. */
    static class PasswordModify implements ExtendedRequest {
        private final byte[] value;

        PasswordModify(String... fields) {
            ByteArrayOutputStream body = new ByteArrayOutputStream();
            for (int i = 0; i < fields.length; i++) {
                write(body, 0x80 + i, fields[i].getBytes(StandardCharsets.UTF_8));
            }
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            write(all, 0x30, body.toByteArray());
            value = all.toByteArray();
        }

        private static void write(ByteArrayOutputStream to, int tag, byte[] content) {
            to.write(tag);
            if (content.length > 127) {
                to.write(0x81);
            }
            to.write(content.length);
            to.writeBytes(content);
        }

        @Override
        public String getID() {
            return "1.3.6.1.4.1.4203.1.11.1";
        }

        @Override
        public byte[] getEncodedValue() {
            return value;
        }

        @Override
        public ExtendedResponse createExtendedResponse(String id, byte[] ber, int offset, int length) {
            return null;
        }
    }
}
